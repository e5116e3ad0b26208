"""Group commit: writes that wait together share one transaction and one sync (D5).

How a write travels
    1. ``run`` puts it in line. At the end of the event loop's present turn everything in
       line becomes one transaction.
    2. Its statements run on the event loop: they are microseconds each, and a thread would
       spend more than that on handing the interpreter lock to and fro. A long write is a
       generator that yields between slices, so that other requests get their turns.
    3. The COMMIT, which waits for the disk, runs in a thread of its own (committing.py).
       Meanwhile the event loop makes the answers (``finish``) and goes on parsing requests;
       what arrives is the next transaction.
    4. When the commit has returned, and not before, the callers get their answers. They have
       a turn before the next statements run, so that replies are on their way; after a crowd
       it is the other way round, since the disk would rest for long.

Writes to relaxed queues (D18) go into a transaction of their own that is not synced.

When something fails: a ``NuskaError`` is one write's own answer. Any other exception from a
write is a bug in it: everything is rolled back, the rest runs again without it. An error of
the database fails the whole transaction with ``Unavailable``; nothing of it has happened,
and the next transaction starts afresh. If the disk failed to write or sync, the store first
recovers (mending.py), and everybody who waits is refused until that has succeeded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import suppress
from time import perf_counter
from types import GeneratorType
from typing import Any, TypeVar, overload

import apsw

from nuska.domain.errors import NuskaError, Unavailable
from nuska.domain.moments import Moment
from nuska.stores.sqlite.committing import CommitThread
from nuska.stores.sqlite.connection import SYNC_AT_CHECKPOINT, close, unavailable
from nuska.stores.sqlite.line import Line, Work, Write
from nuska.stores.sqlite.pace import Pace
from nuska.stores.sqlite.registry import Registry
from nuska.stores.sqlite.transaction import Transaction

T = TypeVar("T")
R = TypeVar("R")

MAX_WAITING = 10_000
"""Writes in line; more are refused, since they could not be answered in time."""
CROWD = 64
"""Callers in a group whose turn would take so long that the next statements go first."""
LONGEST_TURN = 0.005
"""Seconds of statements after which requests that do not write get their turn."""


class Writer:
    """Owns the writing connection, the commit thread and the timeline."""

    def __init__(
        self,
        open_connection: Callable[[], apsw.Connection],
        registry: Registry,
        last_moment: Moment,
        synchronous: str,
        after_commit: Callable[[int], bool],
        recover: Callable[[], Awaitable[None]],
    ) -> None:
        """``after_commit(pages in the log)`` may answer True: hold until ``resume``.

        ``recover`` is awaited before the next transaction after the disk has failed.
        """
        self._open_connection = open_connection
        self._registry = registry
        self._synchronous = synchronous
        self._synced_as = ""
        self._after_commit = after_commit
        self._recover = recover
        self._recovery: asyncio.Task[None] | None = None
        self.doubtful = False
        """What was written last may not be on the disk, though it can be read (mending.py)."""
        self._loop = asyncio.get_running_loop()
        self._connection: apsw.Connection | None = None
        self._waiting = Line()
        self._pace = Pace()
        self._busy = False
        self._held = False
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._wal_pages = 0
        self.last_moment = last_moment
        """The timeline: no operation happens before it."""
        self._kept_moment = last_moment
        self.commits = 0
        self.writes = 0
        self._thread = CommitThread()

    def moment(self, now: Moment) -> Moment:
        """The moment of an operation whose caller says ``now``."""
        if now > self.last_moment:
            self.last_moment = now
        return self.last_moment

    @overload
    async def run(
        self, work: Work[T], *, now: Moment, relaxed: bool = ..., long: bool = ...
    ) -> T: ...

    @overload
    async def run(
        self,
        work: Work[R],
        *,
        now: Moment,
        relaxed: bool = ...,
        long: bool = ...,
        finish: Callable[[R], T],
    ) -> T: ...

    async def run(
        self,
        work: Work[Any],
        *,
        now: Moment,
        relaxed: bool = False,
        long: bool = False,
        finish: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Do ``work`` in a transaction; returns when it is committed.

        ``work`` raises a ``NuskaError`` only before it has changed anything. ``finish`` makes
        the answer of what it returns, without the database; the disk works meanwhile.
        """
        if self._closed:
            raise Unavailable("The store is closed.")
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("Too many writes are waiting for the disk.")
        future: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.add(Write(work, now, relaxed, long, future, finish))
        if not self._busy:
            self._start_soon()
        try:
            return await future
        finally:
            # An error leads to this frame, and the future to the error (``Write.let_go``).
            del future, work, finish

    def hold(self) -> bool:
        """Start no transaction until ``resume``; False, and no hold, when one is under way."""
        if self._busy or self._held or self._closed or self.doubtful:
            return False
        self._held = True
        return True

    def resume(self) -> None:
        """Go on after a hold, this class's own or the one ``after_commit`` asked for."""
        self._held = False
        if self._waiting and not self._busy:
            self._start_soon()

    def doubt(self) -> None:
        """The disk has failed: recover before anything else is written."""
        self.doubtful = True

    def let_go(self, *, keep_log: bool) -> None:
        """Close the connection; the next transaction opens another. Not during one."""
        if self._connection is not None:
            close(self._connection, keep_log=keep_log)
            self._connection = None

    async def close(self) -> None:
        """Finish the writes in line, keep the timeline, stop the thread."""
        if self.last_moment != self._kept_moment and not self.doubtful:
            with suppress(Unavailable):
                await self.run(_nothing, now=self.last_moment)
        self._closed = True
        await self._idle.wait()
        await asyncio.to_thread(self._thread.stop)
        self.let_go(keep_log=self.doubtful)

    def _start_soon(self) -> None:
        self._busy = True
        self._idle.clear()
        self._loop.call_soon(self._start)

    def _start(self) -> None:
        """Begin a transaction with what is in line."""
        if self._held or not self._waiting:
            self._rest()
            return
        if self.doubtful:
            self._recovery = self._loop.create_task(self._recover_first())
            return
        in_line = len(self._waiting)
        if not self._pace.may_begin(in_line, perf_counter()):
            self._loop.call_soon(self._start)  # a turn later more may have come
            return
        group = self._waiting.take(self._pace.share(in_line))
        self._perform(group, group[0].relaxed)

    async def _recover_first(self) -> None:
        """Make sure of what was written before, or refuse those who wait."""
        try:
            await self._recover()
        except Exception as error:
            for write in self._waiting.clear():
                write.error = _as_unavailable(error)
                _answer(write)
        else:
            self.doubtful = False
            self._kept_moment = Moment(0)
        self._next()

    def _rest(self) -> None:
        self._busy = False
        if not self._waiting:
            self._idle.set()

    def _perform(self, group: list[Write], relaxed: bool) -> None:
        """Run the statements of a group; its commit follows when the last has run."""
        try:
            connection = self._usable_connection()
            self._sync_as(connection, SYNC_AT_CHECKPOINT if relaxed else self._synchronous)
            connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(connection, self._registry)
            self._advance(self._statements(group, transaction), group, transaction, relaxed)
        except Exception as error:
            self._fail(group, error)

    def _sync_as(self, connection: apsw.Connection, synchronous: str) -> None:
        """Set how commits are synced, for this group and until it is set again."""
        if self._synced_as != synchronous:
            self._synced_as = ""  # unknown, should this fail
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            self._synced_as = synchronous

    def _advance(
        self,
        steps: Generator[None, None, None],
        group: list[Write],
        transaction: Transaction,
        relaxed: bool,
    ) -> None:
        """Run statements until a slice or the group is done."""
        try:
            for _ in steps:
                self._loop.call_soon(self._advance, steps, group, transaction, relaxed)
                return
            faulty = [write for write in group if write.error is not None]
            if any(not isinstance(write.error, NuskaError) for write in faulty):
                self._again_without_faulty(group, relaxed)
                return
            transaction.before_commit(self.last_moment, self._kept_moment)
            if relaxed:
                assert self._connection is not None
                self._connection.execute("COMMIT")
        except Exception as error:
            self._fail(group, error)
            return
        if relaxed:
            self._committed(group, transaction, None)
        else:
            self._thread.begin(lambda: self._commit(group, transaction))
            _make_answers(group)

    def _statements(
        self, group: list[Write], transaction: Transaction
    ) -> Generator[None, None, None]:
        """Each write in turn; yields where a long one, or many, let others have a turn."""
        began = perf_counter()  # uvloop's own time stands still within a callback
        for write in group:
            if perf_counter() - began > LONGEST_TURN:
                yield
                began = perf_counter()
            transaction.now = self.moment(write.now)
            changes = transaction.changes()
            try:
                outcome = write.work(transaction)
                if type(outcome) is GeneratorType:
                    outcome = yield from outcome
                write.result = outcome
            except apsw.Error:
                raise
            except NuskaError as error:
                if transaction.changes() != changes:
                    write.error = AssertionError("a write changed something and then refused")
                    write.error.__cause__ = error
                    return
                write.error = error
            except Exception as error:
                write.error = error
                return

    def _again_without_faulty(self, group: list[Write], relaxed: bool) -> None:
        """A write had a bug: give it its exception, and run the others without it."""
        self._roll_back()
        healthy = []
        for write in group:
            if write.error is not None and not isinstance(write.error, NuskaError):
                _answer(write)
            else:
                write.error = None
                healthy.append(write)
        if healthy:
            self._perform(healthy, relaxed)
        else:
            self._next()

    def _commit(self, group: list[Write], transaction: Transaction) -> None:
        """In the thread: wait for the disk, then go back to the event loop."""
        assert self._connection is not None
        began = perf_counter()
        try:
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._loop.call_soon_threadsafe(self._fail, group, error)
        else:
            seconds = perf_counter() - began
            self._loop.call_soon_threadsafe(self._committed, group, transaction, seconds)

    def _committed(
        self, group: list[Write], transaction: Transaction, seconds: float | None
    ) -> None:
        """Make the new state of queues known, answer the callers; then comes the next group.

        ``seconds`` is what the commit took; None: it was not synced.
        """
        if seconds is None:
            self._pace.forget()
        else:
            self._pace.committed(len(group), len(self._waiting), seconds, perf_counter())
        self._kept_moment = transaction.kept
        for ref, row in transaction.touched.items():
            if row is None:
                self._registry.forget(ref)
            else:
                self._registry.keep(ref, row, self.last_moment)
        self._registry.passed(self.last_moment)
        self.commits += 1
        self.writes += len(group)
        if self._after_commit(self._wal_pages):
            self._held = True
        crowded = len(group) > CROWD
        if crowded:
            self._next()  # its place is before the callers' turn
        for write in group:
            _answer(write)
        if not crowded:
            self._next()

    def _fail(self, group: list[Write], error: BaseException) -> None:
        """Nothing of this group has happened."""
        if isinstance(error, apsw.IOError):
            self.doubt()
        self._pace.forget()
        self._roll_back()
        for write in group:
            if not isinstance(write.error, NuskaError):
                write.error = _as_unavailable(error)
            _answer(write)
        self._next()

    def _next(self) -> None:
        if self._waiting and not self._held:
            self._loop.call_soon(self._start)
        else:
            self._rest()

    def _usable_connection(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = self._open_connection()
            self._synced_as = self._synchronous
            self._connection.set_wal_hook(self._note_wal_pages)
        return self._connection

    def _note_wal_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _roll_back(self) -> None:
        """Undo; a connection that cannot even do that is replaced."""
        if self._connection is None:
            return
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except apsw.Error:
            self.let_go(keep_log=True)


def _nothing(_transaction: Transaction) -> None:
    """A write whose commit keeps what every commit keeps."""


def _make_answers(group: list[Write]) -> None:
    """As many as fit into a turn, while the disk works; the others are made when given."""
    began = perf_counter()
    for write in group:
        if write.finish is not None:
            write.make_answer()
            if perf_counter() - began > LONGEST_TURN:
                return


def _answer(write: Write) -> None:
    """Hand a caller its result, unless the caller has gone; this ends the write."""
    write.make_answer()
    future, error, result = write.future, write.error, write.result
    write.let_go()
    if future is None or future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _as_unavailable(error: BaseException) -> Exception:
    """What callers are told when a transaction failed."""
    if isinstance(error, Unavailable):
        return error
    if isinstance(error, apsw.Error | OSError):
        answer = unavailable(error)
        answer.__cause__ = error
        return answer
    return error if isinstance(error, Exception) else RuntimeError(str(error))
