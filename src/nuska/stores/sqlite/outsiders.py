"""Other processes that have the database open: a backup of it, or somebody with a shell.

They may read it at any time beside the one owner. But as long as any of them has it open,
SQLite keeps its index of the log, and with it what it believes to have copied from the log
into the database. After the disk has failed that belief must go (mending.py). So the owner
asks them to let go when it starts and before it mends, and does not go on while one stays.

The sign is the time of change of the lock file, since that needs no room on a full disk.
"""

import os
from pathlib import Path
from time import sleep

import apsw

from nuska.domain.errors import Unavailable
from nuska.stores.sqlite.connection import NO_CHECKPOINT, close
from nuska.stores.sqlite.queries import query

LOCK_SUFFIX = ".lock"
LOOKS_AT_START = 100
BETWEEN_LOOKS = 0.05
"""Seconds; with the number of looks, how long a start waits for a backup to let go."""


def ask_to_let_go(lock: int) -> None:
    """The sign; ``lock`` is the lock file, open. Who copies the database stops within a step."""
    os.utime(lock)


class Sign:
    """The sign as who reads the database from outside sees it."""

    def __init__(self, database: Path) -> None:
        self._lock = database.with_name(database.name + LOCK_SUFFIX)
        self._before = self._changed_at()

    def given(self) -> bool:
        """Whether the owner wants everybody to let go, or a new owner has come."""
        return self._changed_at() != self._before

    def _changed_at(self) -> int | None:
        try:
            return self._lock.stat().st_mtime_ns
        except FileNotFoundError:
            return None


def expect_nobody(path: str, vfs: str | None, *, looks: int = 1) -> None:
    """Raise ``Unavailable`` when another process has the database open.

    No connection of this process may be open. SQLite then reads the log as after a crash.
    """
    for look in range(looks):
        if look:
            sleep(BETWEEN_LOOKS)
        if _alone(path, vfs):
            return
    raise Unavailable(
        f"Another process has {path} open, which must not be while the store is made sure of. "
        "Close it there first."
    )


def _alone(path: str, vfs: str | None) -> bool:
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    try:
        connection.set_busy_timeout(0)
        connection.config(NO_CHECKPOINT, 1)
        connection.pragma("locking_mode", "exclusive")
        connection.execute(query("any_table")).fetchall()
    except apsw.BusyError:
        return False
    finally:
        close(connection, keep_log=True)
    return True
