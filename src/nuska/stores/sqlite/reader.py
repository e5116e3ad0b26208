"""Reads: short ones on the event loop, long ones in threads, all of committed data.

A read by id costs less than handing it to a thread. What may walk many rows (statistics, a
listing that must pass over many messages) goes to a few threads, each with a connection
of its own; SQLite lets go of the interpreter lock while it walks.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import local
from typing import TypeVar

import apsw

from nuska.domain.errors import Unavailable
from nuska.stores.sqlite.connection import translated

T = TypeVar("T")

SCAN_THREADS = 2
MAX_SCANS_WAITING = 256


class Reader:
    """Read connections to one file."""

    def __init__(self, open_connection: Callable[[], apsw.Connection]) -> None:
        self._open_connection = open_connection
        self._connection: apsw.Connection | None = None
        self._threads = ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="sqlite-scan")
        self._own = local()
        self._scanners: list[apsw.Connection] = []
        self._scans = 0

    def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do a short read here and now."""
        with translated():
            if self._connection is None:
                self._connection = self._open_connection()
            try:
                return work(self._connection)
            except (apsw.IOError, apsw.CorruptError, apsw.CantOpenError):
                broken, self._connection = self._connection, None
                broken.close(True)
                raise

    async def scan(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do a long read in a thread."""
        if self._scans >= MAX_SCANS_WAITING:
            raise Unavailable("Too many long reads are waiting.")
        self._scans += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._scan, work)
        finally:
            self._scans -= 1

    def _scan(self, work: Callable[[apsw.Connection], T]) -> T:
        with translated():
            connection: apsw.Connection | None = getattr(self._own, "connection", None)
            if connection is None:
                connection = self._open_connection()
                self._own.connection = connection
                self._scanners.append(connection)
            try:
                return work(connection)
            except (apsw.IOError, apsw.CorruptError, apsw.CantOpenError):
                self._own.connection = None
                self._scanners.remove(connection)
                with suppress(apsw.Error):
                    connection.close(True)
                raise

    async def close(self) -> None:
        """Finish the reads under way, then let go of the file."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in [*self._scanners, self._connection]:
            if connection is not None:
                connection.close()
        self._scanners.clear()
        self._connection = None
