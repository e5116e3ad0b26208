"""The embedded store: one SQLite file, one owner, every acknowledged write synced (D5).

writer.py      group commit          reader.py     reads beside it
committing.py  the disk's thread     pace.py        when a group begins
checkpoint.py  the log's upkeep      sweeping.py   expiry and purge in small steps
mending.py     after the disk failed outsiders.py  other processes that look
backup.py      a copy while it runs  restoring.py  putting a copy in place
queues.py  messages.py  claims.py    the promises of interfaces/storage.py, noun by noun
claiming.py   making claims         unmarked.py    those that put off marking their messages
announcements.py                     those of interfaces/announcing.py
"""

import asyncio
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.files import sync_directory
from nuska.interfaces.storage import Capabilities, Durability, StoreOptions, SweepReport
from nuska.stores.sqlite import schema
from nuska.stores.sqlite.announcements import SqliteAnnouncements
from nuska.stores.sqlite.checkpoint import Checkpointer
from nuska.stores.sqlite.claims import SqliteClaims
from nuska.stores.sqlite.connection import (
    SYNC_EVERY_COMMIT,
    check_library,
    open_checkpointer,
    open_reader,
    open_writer,
    translated,
)
from nuska.stores.sqlite.mending import LOG_SUFFIX, committed_size, rewrite_log
from nuska.stores.sqlite.messages import SqliteMessages
from nuska.stores.sqlite.outsiders import (
    LOCK_SUFFIX,
    LOOKS_AT_START,
    ask_to_let_go,
    expect_nobody,
)
from nuska.stores.sqlite.queues import SqliteQueues
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.records import SqliteRecords
from nuska.stores.sqlite.registry import Registry
from nuska.stores.sqlite.sweeping import Sweeper
from nuska.stores.sqlite.transfers import SqliteTransfers
from nuska.stores.sqlite.writer import Writer

FILE_NAME = "nuska.db"
IDLE_LOG_KEPT = 4 * 1024 * 1024
"""Bytes of log that may stay when there is nothing to do."""

CAPABILITIES = Capabilities(
    names=frozenset({"FIFO", "CLAIMS", "DURABILITY", "AOD", "HIGH_THROUGHPUT"}),
    durable=True,
    shared=False,
    durability=Durability.FSYNC,
)


class SqliteStore:
    """``Store`` on one database file."""

    capabilities = CAPABILITIES

    def __init__(self, path: Path, options: StoreOptions, vfs: str | None, synchronous: str):
        self.path = path
        self.durability = (
            "every acknowledged write has been synced to disk (SQLite, WAL, synchronous=FULL)"
            if synchronous == SYNC_EVERY_COMMIT
            else f"NOT synced at every commit (SQLite, synchronous={synchronous})"
        )
        self._lock: int | None = schema.lock(path.with_name(path.name + LOCK_SUFFIX))
        ask_to_let_go(self._lock)
        name = os.fspath(path)
        writer = partial(open_writer, name, vfs=vfs, synchronous=synchronous)
        try:
            with translated(), schema.intact(name):
                # Made by us, because SQLite would let everybody on the machine read it; the
                # log gets the mode of the file.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                rewrite_log(name, vfs)  # the process before us may have met a failing disk
                expect_nobody(name, vfs, looks=LOOKS_AT_START)
                connection = writer()
                schema.prepare(connection, name)
                last_moment = schema.last_moment(connection)
                registry = Registry(schema.last_generation(connection), last_moment)
                connection.close()
        except BaseException:
            self._unlock()
            raise
        self._registry = registry
        self._rewrite_log = partial(rewrite_log, name, vfs)
        self._expect_nobody = partial(expect_nobody, name, vfs)
        self._checkpointer = Checkpointer(partial(open_checkpointer, name, vfs=vfs))
        self._reader = Reader(partial(open_reader, name, vfs=vfs))
        self.writer = Writer(
            writer,
            registry,
            last_moment,
            synchronous,
            self._checkpointer.after_commit,
            self._recover,
        )
        self.writer.moment(options.now)
        self._checkpointer.resume = self.writer.resume
        self._checkpointer.doubt = self.writer.doubt
        self.queues = SqliteQueues(self.writer, self._reader, registry)
        self.messages = SqliteMessages(self.writer, self._reader, self.queues, options.random_bytes)
        self.claims = SqliteClaims(self.writer, self._reader, self.queues)
        self.records = SqliteRecords(self.writer, self._reader, options.random_bytes)
        self.transfers = SqliteTransfers(self.writer, self._reader, self.queues)
        self.announcements = SqliteAnnouncements(self.writer, self._reader, self.queues)
        self._sweeper = Sweeper(self.writer, self._reader)
        self._closed = False

    @property
    def latest(self) -> Moment:
        return self.writer.last_moment

    async def ping(self) -> None:
        self._reader.read(lambda connection: connection.execute("SELECT 1").get)

    async def sweep(self, *, now: Moment) -> SweepReport:
        report = await self._sweeper.sweep(now)
        if not report.more:
            await self._cut_idle_log()
        return report

    async def _cut_idle_log(self) -> None:
        """After a rush the log is long, and nothing is left that would start it over."""
        log = self.path.with_name(self.path.name + LOG_SUFFIX)
        if not log.exists() or log.stat().st_size <= IDLE_LOG_KEPT:
            return
        await self._checkpointer.quiet()  # the one under way does not give the space back
        if self._closed or not self.writer.hold():
            return
        try:
            await self._checkpointer.cut_log()
        finally:
            self.writer.resume()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self.writer.close()
        await self._checkpointer.quiet()
        in_doubt = self.writer.doubtful  # then the next start makes sure of the log
        await self._reader.close(keep_log=in_doubt)
        await self._checkpointer.close(keep_log=in_doubt)
        self._unlock()

    async def _recover(self) -> None:
        """After the disk failed, between two transactions: see mending.py."""
        await self._checkpointer.quiet()
        if self._lock is not None:
            ask_to_let_go(self._lock)
        await asyncio.to_thread(self._rewrite_log, self._reader.read(committed_size))
        async with self._reader.between_scans():
            self._reader.let_go(keep_log=True)
            self._checkpointer.let_go(keep_log=True)
            self.writer.let_go(keep_log=True)
            self._registry.forget_all()
            self._expect_nobody()

    def _unlock(self) -> None:
        if self._lock is not None:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = None


async def open_sqlite(
    options: StoreOptions, *, vfs: str | None = None, synchronous: str = SYNC_EVERY_COMMIT
) -> SqliteStore:
    """Open ``sqlite:`` (``nuska.db`` in the data directory) or ``sqlite:///absolute/path``.

    ``vfs`` and ``synchronous`` are for tests of durability. Raises ``Unavailable`` with a
    sentence for people when the file cannot be used.
    """
    check_library()
    asyncio.get_running_loop()
    path = path_of(options.url, options.data_dir)
    with translated_path(path):
        make_directory(path.parent)
    return SqliteStore(path, options, vfs, synchronous)


def make_directory(directory: Path) -> None:
    """Create it, with its parents, so that it is there after a power loss too."""
    missing = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for made in missing:
        sync_directory(made.parent)


def path_of(url: str, data_dir: str) -> Path:
    """The database file that a store's URL means."""
    scheme, _, rest = url.partition(":")
    if scheme != "sqlite":
        raise Unavailable(f"{url!r} is not a sqlite: URL.")
    if rest in ("", "//"):
        return Path(data_dir) / FILE_NAME
    if rest.startswith("///") and len(rest) > 3:
        return Path(rest[2:])
    raise Unavailable(f"{url!r}: write sqlite: for the data directory, or sqlite:///absolute/path.")


class translated_path:  # noqa: N801  a context manager that reads like a verb
    """Say which directory cannot be used, and why."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise Unavailable(
                f"The data directory {self._path.parent} cannot be used: {error.strerror}."
            ) from error
