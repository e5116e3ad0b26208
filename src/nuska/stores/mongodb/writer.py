"""Carries out writes: one transaction at a time per queue and node, for all who wait (D11).

A transaction that MongoDB refused because another node was at the same queue is tried again
after a random rest, for as long as a request may take. One whose outcome is not known is
never tried again, and everybody in it is told ``Unavailable``.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from nuska.domain.errors import NuskaError, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.stores.mongodb.connection import (
    ANSWER_WITHIN,
    SAFE,
    Connection,
    Session,
    attempts,
    bounded,
    busy,
    unavailable,
)
from nuska.stores.mongodb.forsaken import SUSPECT_AFTER, Forsaken
from nuska.stores.mongodb.generations import Generations
from nuska.stores.mongodb.records import Document
from nuska.stores.mongodb.transaction import Transaction

GROUP_AT_MOST = 64
TRANSIENT = "TransientTransactionError"

T = TypeVar("T")
Work = Callable[[Transaction], Awaitable[T]]

logger = logging.getLogger("nuska.stores.mongodb")


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Work[Any]
    answer: asyncio.Future[Any]
    now: Moment
    since: float
    positions: int = 0


class Writer:
    """Writes of one store."""

    def __init__(self, connection: Connection, forsaken: Forsaken, now: Moment) -> None:
        self._connection = connection
        self._forsaken = forsaken
        self._latest = now
        self.generations = Generations()
        self._lines: dict[QueueRef, deque[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def moment(self, now: Moment) -> Moment:
        """The later of ``now`` and the last moment this node has seen."""
        self._latest = max(self._latest, now)
        return self._latest

    @property
    def latest(self) -> Moment:
        return self._latest

    async def run(self, queue: QueueRef, work: Work[T], *, positions: int = 0, now: Moment) -> T:
        """What ``work`` returns, once it is committed; it may take that many ``positions``
        of the queue, or more.

        It may be called several times, and what it raises must come before its first change.
        """
        waiting = self._waiting(work, now)
        waiting.positions = positions
        line = self._lines.get(queue)
        if line is None:
            self._lines[queue] = deque([waiting])
            self._start(self._work_off(queue))
        else:
            line.append(waiting)
        answer: T = await waiting.answer
        return answer

    async def run_alone(self, work: Work[T], *, now: Moment) -> T:
        """The same in a transaction of its own, which the work may undo. Only for what opens no
        queue: so it is in nobody's way who changes other messages."""
        waiting = self._waiting(work, now)
        self._start(self._settle([waiting]))
        answer: T = await waiting.answer
        return answer

    async def delete_one(self, query: Document) -> tuple[bool, object | None]:
        """Delete a document if it still is as ``query`` says, which is atomic by itself; whether
        it was, and the term of the primary that did it, where it says so.

        A client library that lost the answer asks again, which cannot do it twice.
        """
        if self._closed:
            raise _closed()
        with bounded(), self._forsaken.suspected():
            done = await self._connection.records.delete_one(query)
        return done.deleted_count > 0, done.raw_result.get("electionId")

    def _waiting(self, work: Work[Any], now: Moment) -> _Waiting:
        if self._closed:
            raise _closed()
        loop = asyncio.get_running_loop()
        return _Waiting(work, loop.create_future(), self.moment(now), loop.time())

    def _start(self, doing: Coroutine[Any, Any, None]) -> None:
        """In a task of ours: a caller that leaves does not leave a transaction half-way."""
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work_off(self, queue: QueueRef) -> None:
        line = self._lines[queue]
        try:
            while line:
                group = [line.popleft() for _ in range(min(GROUP_AT_MOST, len(line)))]
                await self._settle([one for one in group if self._is_worth_it(one)], queue)
        finally:
            del self._lines[queue]

    def _is_worth_it(self, one: _Waiting) -> bool:
        """Whether somebody still waits, and not for too long already."""
        if one.answer.done():
            return False
        if asyncio.get_running_loop().time() - one.since > ANSWER_WITHIN:
            one.answer.set_exception(busy())
            return False
        return True

    async def _settle(self, group: list[_Waiting], queue: QueueRef | None = None) -> None:
        """Answer everybody in the group."""
        if not group:
            return
        outcomes: list[Any]
        try:
            outcomes = await self._carry_out(group, queue)
        except Unavailable as error:
            outcomes = [error] * len(group)
        except Exception as error:
            # Nothing was committed, see ``_commit``. One of them is at fault, and the others
            # shall not suffer.
            if len(group) > 1:
                for one in group:
                    await self._settle([one], queue)
                return
            outcomes = [error]
        for one, outcome in zip(group, outcomes, strict=True):
            if one.answer.done():
                continue
            if isinstance(outcome, Exception):
                one.answer.set_exception(outcome)
            else:
                one.answer.set_result(outcome)

    async def _carry_out(self, group: list[_Waiting], queue: QueueRef | None) -> list[Any]:
        """What the group's works return, after they have been committed together."""
        now = max(one.now for one in group)
        positions = {} if queue is None else {queue: sum(one.positions for one in group)}
        loop = asyncio.get_running_loop()
        began = loop.time()
        with bounded():
            async for _ in attempts():
                if loop.time() - began > SUSPECT_AFTER:
                    self._forsaken.suspect()
                async with self._connection.client.start_session() as session:
                    try:
                        transaction, outcomes = await self._prepare(session, group, now, positions)
                        if transaction.is_worth_committing:
                            await _commit(session)
                        else:
                            await session.abort_transaction()
                    except DuplicateKeyError:
                        await _abort(session)  # somebody created the same thing meanwhile
                    except PyMongoError as error:
                        await _abort(session)
                        if not error.has_error_label(TRANSIENT) or error.timeout:
                            raise
                    except BaseException:
                        await _abort(session)
                        raise
                    else:
                        self.moment(transaction.moment)
                        return outcomes
        raise busy()

    async def _prepare(
        self,
        session: Session,
        group: list[_Waiting],
        now: Moment,
        positions: dict[QueueRef, int],
    ) -> tuple[Transaction, list[Any]]:
        """Everything but the commit: whatever is raised in here, nothing has happened."""
        await session.start_transaction(
            read_concern=ReadConcern("snapshot"),
            write_concern=SAFE,
            read_preference=ReadPreference.PRIMARY,
        )
        transaction = Transaction(
            self._connection.in_session, session, now, positions, self.generations
        )
        outcomes: list[Any] = []
        for one in group:
            try:
                outcomes.append(await transaction.carry_out(one.work))
            except NuskaError as refusal:
                outcomes.append(refusal)
        await transaction.finish()
        return transaction, outcomes

    async def close(self) -> None:
        """Finish what has begun; nothing else is taken."""
        self._closed = True
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=2 * ANSWER_WITHIN)
            for task in late:
                task.cancel()
        for line in self._lines.values():
            for one in line:
                if not one.answer.done():
                    one.answer.set_exception(unavailable(ConnectionError("closed")))


def _closed() -> Unavailable:
    return Unavailable("The MongoDB store is closed.")


async def _commit(session: Session) -> None:
    """Once it was asked for, only MongoDB can say that it was not done; any other error leaves
    that open, so it must reach callers, and nothing may be carried out again."""
    try:
        await session.commit_transaction()
    except PyMongoError:
        raise  # a transient one says that it was not done
    except Exception as error:
        raise unavailable(error) from error


async def _abort(session: Session) -> None:
    """So that nobody waits for a transaction of ours; MongoDB forgets it in the end anyway."""
    if session.in_transaction:
        with suppress(PyMongoError):
            await session.abort_transaction()
