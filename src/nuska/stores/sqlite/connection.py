"""Connections to the database file: how each is set up, and its errors in our words.

Refuses a SQLite library older than 3.51.3: before it, resetting the write-ahead log while
a checkpoint ran could corrupt the file.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import apsw

from nuska.domain.errors import Unavailable

OLDEST_SQLITE = 3_051_003
BUSY_TIMEOUT_MS = 2_000
"""Only another process that looks at the file can make us wait: we are its one owner."""
WRITER_CACHE_KIB = 48 * 1024
READER_CACHE_KIB = 4 * 1024
PAGE_SIZE = 4096
INCREMENTAL = 2
"""``auto_vacuum``: free pages are given back when the sweep asks for it."""
WAL_SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes to which the log is cut after it has been reset."""

SYNC_EVERY_COMMIT = "FULL"
SYNC_AT_CHECKPOINT = "NORMAL"
STABLE_PLANS = apsw.SQLITE_DBCONFIG_ENABLE_QPSG
"""Set for a connection, plans do not depend on what is bound: otherwise a statement with a bound
LIMIT is prepared anew each time it runs, which takes longer than most of ours do."""
NO_CHECKPOINT = apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
"""Set for a connection, it leaves the log as it is when it is the last to close."""


def check_library() -> None:
    """Raise ``Unavailable`` when the SQLite library is too old to trust with WAL."""
    if apsw.SQLITE_VERSION_NUMBER < OLDEST_SQLITE:
        raise Unavailable(
            f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed "
            "(install the apsw wheel, which brings its own)"
        )


def open_writer(path: str, *, vfs: str | None, synchronous: str) -> apsw.Connection:
    """The one connection that writes. Checkpoints are not its business."""
    connection = apsw.Connection(path, vfs=vfs, statementcachesize=128)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.config(STABLE_PLANS, 1)
    connection.pragma("page_size", PAGE_SIZE)
    connection.pragma("auto_vacuum", INCREMENTAL)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", synchronous)
    connection.pragma("wal_autocheckpoint", 0)
    connection.pragma("journal_size_limit", WAL_SIZE_LIMIT)
    connection.pragma("cache_size", -WRITER_CACHE_KIB)
    connection.pragma("temp_store", "memory")
    return connection


def open_reader(path: str, *, vfs: str | None) -> apsw.Connection:
    """A connection that sees what has been committed, and cannot write."""
    connection = apsw.Connection(
        path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs, statementcachesize=64
    )
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.config(STABLE_PLANS, 1)
    connection.pragma("query_only", True)
    connection.pragma("cache_size", -READER_CACHE_KIB)
    connection.pragma("temp_store", "memory")
    return connection


def open_checkpointer(path: str, *, vfs: str | None) -> apsw.Connection:
    """The connection that copies the log into the database file, in its own thread."""
    connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, vfs=vfs)
    connection.set_busy_timeout(0)
    connection.pragma("synchronous", SYNC_EVERY_COMMIT)
    connection.pragma("wal_autocheckpoint", 0)
    return connection


def close(connection: apsw.Connection, *, keep_log: bool = False) -> None:
    """Let go of the file, whatever state the disk is in.

    The last connection to close copies the log and removes it; with ``keep_log`` it does not.
    """
    with suppress(apsw.Error):
        if keep_log:
            connection.config(NO_CHECKPOINT, 1)
        connection.close(True)


def unavailable(error: BaseException) -> Unavailable:
    """``error`` of the library as one of ours; the caller chains the cause."""
    if isinstance(error, apsw.FullError):
        return Unavailable("The disk that holds the store is full.", retry_after=5)
    if isinstance(error, apsw.IOError):
        return Unavailable("The disk that holds the store failed to read or write.", retry_after=5)
    return Unavailable("The store cannot answer now.", retry_after=1)


@contextmanager
def snapshot(connection: apsw.Connection) -> Iterator[None]:
    """One consistent view for several reads; within another, that one."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")


@contextmanager
def translated() -> Iterator[None]:
    """Turn the library's errors into ``Unavailable``."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise unavailable(error) from error
