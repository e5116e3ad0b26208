"""Reads: short ones on the event loop, long ones in threads, all of committed data.

A read by id costs less than handing it to a thread. What may walk many rows (statistics, a
listing that must pass over many messages) goes to a few threads, each with a connection
of its own; SQLite lets go of the interpreter lock while it walks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from threading import get_ident
from typing import TypeVar

import apsw

from nuska.domain.errors import Unavailable
from nuska.stores.sqlite.connection import close, snapshot, translated
from nuska.stores.sqlite.queries import query

ANY_UNMARKED = query("any_unmarked")

T = TypeVar("T")

SCAN_THREADS = 2
MAX_SCANS_WAITING = 256


class NotMarked(Exception):
    """Messages of a queue are in claims that have not marked them (unmarked.py)."""


class Reader:
    """Read connections to one file."""

    def __init__(self, open_connection: Callable[[], apsw.Connection]) -> None:
        self._open_connection = open_connection
        self._connection: apsw.Connection | None = None
        self._threads = ThreadPoolExecutor(SCAN_THREADS, thread_name_prefix="sqlite-scan")
        self._scanners: dict[int, apsw.Connection] = {}
        self._scans = 0
        self._scanning = 0
        self._may_scan = asyncio.Event()
        self._may_scan.set()
        self._no_scan = asyncio.Event()
        self._no_scan.set()

    def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do a short read here and now."""
        with translated():
            if self._connection is None:
                self._connection = self._open_connection()
            try:
                return work(self._connection)
            except (apsw.IOError, apsw.CorruptError, apsw.CantOpenError):
                broken, self._connection = self._connection, None
                close(broken)
                raise

    async def scan(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do a long read in a thread."""
        if self._scans >= MAX_SCANS_WAITING:
            raise Unavailable("Too many long reads are waiting.")
        self._scans += 1
        try:
            await self._may_scan.wait()
            return await self._in_thread(work)
        finally:
            self._scans -= 1

    async def _in_thread(self, work: Callable[[apsw.Connection], T]) -> T:
        self._scanning += 1
        self._no_scan.clear()
        scan = asyncio.get_running_loop().run_in_executor(self._threads, self._scan, work)
        scan.add_done_callback(self._scan_is_over)  # also when the caller has gone
        return await scan

    def _scan_is_over(self, _scan: object) -> None:
        self._scanning -= 1
        if not self._scanning:
            self._no_scan.set()

    @asynccontextmanager
    async def between_scans(self) -> AsyncIterator[None]:
        """No long read is under way, and none begins. Short ones need the event loop."""
        self._may_scan.clear()
        try:
            await self._no_scan.wait()
            yield
        finally:
            self._may_scan.set()

    def _scan(self, work: Callable[[apsw.Connection], T]) -> T:
        with translated():
            connection = self._scanners.get(get_ident())
            if connection is None:
                connection = self._scanners[get_ident()] = self._open_connection()
            try:
                return work(connection)
            except (apsw.IOError, apsw.CorruptError, apsw.CantOpenError):
                close(self._scanners.pop(get_ident()))
                raise

    def let_go(self, *, keep_log: bool) -> None:
        """Close every connection; the next read opens another. Not while scans go on."""
        for connection in [*self._scanners.values(), self._connection]:
            if connection is not None:
                close(connection, keep_log=keep_log)
        self._scanners.clear()
        self._connection = None

    async def close(self, *, keep_log: bool = False) -> None:
        """Finish the reads under way, then let go of the file."""
        await asyncio.to_thread(self._threads.shutdown)
        self.let_go(keep_log=keep_log)


class MarkedReader:
    """Reads of one queue's messages, for whom those in a claim must say so; else ``NotMarked``.

    Asked within the very view that is read: claims go on while a read waits for its thread.
    """

    def __init__(self, reader: Reader, generation: int) -> None:
        self._reader = reader
        self._generation = generation

    def read(self, work: Callable[[apsw.Connection], T]) -> T:
        return self._reader.read(self._checked(work))

    async def scan(self, work: Callable[[apsw.Connection], T]) -> T:
        return await self._reader.scan(self._checked(work))

    def _checked(self, work: Callable[[apsw.Connection], T]) -> Callable[[apsw.Connection], T]:
        def checked(connection: apsw.Connection) -> T:
            with snapshot(connection):
                if connection.execute(ANY_UNMARKED, (self._generation,)).get is not None:
                    raise NotMarked
                return work(connection)

        return checked
