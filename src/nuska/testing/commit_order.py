"""Which prefix of its own history a rebuilt store holds (I23).

``CommitOrder`` watches an open SQLite store. Every call made through it is written down at
the moment when its statements run, which is the order of commits, together with what it
needed from outside (the moment, the random bytes) and the place in the log of
``recording_vfs.py`` at which the caller had its answer. Replaying the calls on the model
store gives the state after each; a store rebuilt from what a disk kept must equal one of
them, and not one before the last durable answer.

A call that was answered with ``Unavailable`` is unknown: it may have happened, whole and
with all that shared its transaction, or not at all; but not in the running process.

Refuses to judge reads and sweeps: they change nothing that anybody can observe.
"""

from collections.abc import Callable, Generator
from contextvars import ContextVar
from copy import deepcopy
from difflib import unified_diff
from random import Random
from types import GeneratorType
from typing import Any

import msgspec
from msgspec import Struct

from nuska.domain.errors import NuskaError, Unavailable
from nuska.domain.messages import Added, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position, parse_message_id
from nuska.stores.memory import MemoryStore
from nuska.stores.sqlite.store import SqliteStore
from nuska.stores.sqlite.transaction import Transaction
from nuska.testing.questions import Call, Questions


class Tape:
    """Random bytes that can be read again from any place."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._bytes = bytearray()
        self.place = 0

    def __call__(self, count: int) -> bytes:
        end = self.place + count
        while len(self._bytes) < end:
            self._bytes += self._random.randbytes(4096)
        taken = bytes(self._bytes[self.place : end])
        self.place = end
        return taken

    def __deepcopy__(self, _memo: object) -> "Tape":
        return self


class Line(Struct, kw_only=True, eq=False):
    """A call in the order of commits."""

    call: Call
    moment: Moment = Moment(0)
    tape_place: int = 0
    tails: dict[QueueRef, int] = {}
    """The last positions of its queues: what failed has used some up."""
    relaxed: bool = False
    transaction: Transaction | None = None
    answered_at: int | None = None
    """The place in the log when the caller had the answer; None: never, or a 503."""
    unknown: bool = False
    """The caller was told ``Unavailable``."""
    outcome: Any = None
    """What its statements made of it, before the commit."""
    changed: bool = False
    """Whether they changed anything: what did not needs no sync either."""
    positions: list[int] = []
    """Where a post put its messages."""


class Unfaithful(AssertionError):
    """A rebuilt store is in a state that the store never acknowledged or was in."""


def _as_it_is(outcome: Any) -> Any:
    """How a write is finished whose outcome is its answer."""
    return outcome


_line: ContextVar[Line | None] = ContextVar("line", default=None)


class CommitOrder:
    """Make every call by ``perform``; judge rebuilt stores by ``check`` when all is over."""

    def __init__(self, store: SqliteStore, tape: Tape, place: Callable[[], int]) -> None:
        """``tape`` is what the store was given as ``random_bytes``."""
        self.lines: list[Line] = []
        self._store = store
        self._tape = tape
        self._place = place
        self._states: list[MemoryStore] = []
        self._unknown_states: list[tuple[int, MemoryStore]] = []
        self._seen: dict[tuple[int, Moment], bytes] = {}
        self._run = store.writer.run
        setattr(store.writer, "run", self._noting)  # noqa: B010  assigning to a method

    async def perform(self, call: Call, now: Moment) -> Any:
        """Make a call on the watched store."""
        line = Line(call=call)
        token = _line.set(line)
        try:
            answer = await call.make(self._store, now)
            if isinstance(answer, Added):
                line.positions = [
                    parsed[0] for parsed in map(parse_message_id, answer.ids) if parsed
                ]
            return answer
        except Unavailable:
            line.unknown = True
            raise
        finally:
            if not line.unknown:
                line.answered_at = self._place()
            _line.reset(token)

    async def _noting(
        self,
        work: Any,
        *,
        now: Moment,
        relaxed: bool = False,
        long: bool = False,
        finish: Any = _as_it_is,
    ) -> Any:
        line = _line.get()
        if line is None:
            return await self._run(work, now=now, relaxed=relaxed, long=long, finish=finish)

        def noted(transaction: Transaction) -> Any:
            if line.transaction is not None:  # its transaction was done again
                self.lines.remove(line)
            line.transaction, line.moment = transaction, transaction.now
            line.relaxed, line.tape_place = relaxed, self._tape.place
            for ref in line.call.queues:
                row = transaction.row(ref)
                line.tails[ref] = (
                    row.last_position
                    if row is not None
                    else transaction._registry.last_position_of_deleted(ref)
                )
            self.lines.append(line)
            return self._statements(line, work, transaction)

        return await self._run(noted, now=now, relaxed=relaxed, long=long, finish=finish)

    def _statements(self, line: Line, work: Any, transaction: Transaction) -> Any:
        before = transaction.changes()
        outcome = work(transaction)
        if isinstance(outcome, GeneratorType):
            return self._slices(line, outcome, transaction, before)
        line.outcome, line.changed = outcome, transaction.changes() != before
        return outcome

    def _slices(
        self, line: Line, slices: Any, transaction: Transaction, before: int
    ) -> Generator[None, None, Any]:
        line.outcome = yield from slices
        line.changed = transaction.changes() != before
        return line.outcome

    async def replay(self, start: Moment) -> None:
        """Find the state after each call; the tape and the watching are over."""
        model = MemoryStore(now=start, random_bytes=self._tape)
        known = [line for line in self.lines if not line.unknown]
        self._states = [deepcopy(model)]
        for line in known:
            await self._make_again(line, model)
            self._states.append(deepcopy(model))
        done = 0
        groups: dict[tuple[int, int], list[Line]] = {}
        for line in self.lines:
            if line.unknown:
                groups.setdefault((done, id(line.transaction)), []).append(line)
            else:
                done += 1
        for (before, _), group in groups.items():
            model = deepcopy(self._states[before])
            for line in group:
                await self._make_again(line, model)
            self._unknown_states.append((before, model))
        self.lines = known

    async def _make_again(self, line: Line, model: MemoryStore) -> None:
        self._tape.place = line.tape_place
        for ref, tail in line.tails.items():
            queue = model._state.queues.get(ref)
            if queue is not None:
                queue.last_position = Position(tail)
            else:
                model._state._retired[ref] = Position(tail)
        call = line.call
        if call.method == "queues.replace_metadata":
            # Versions are each store's own: what counts is whether it was the latest.
            latest = await model.queues.get(call.arguments[0].ref)
            if line.outcome is not True or latest is None:
                return
            call = msgspec.structs.replace(call, arguments=(latest, *call.arguments[1:]))
        if call.method == "announcements.close":
            log = model._state.logs.get(call.arguments[0])
            if line.outcome is not True or log is None:
                return
            call = msgspec.structs.replace(call, options={"version": log.version})
        try:
            await call.make(model, line.moment)
        except NuskaError:
            return  # a refusal changes nothing

    def acknowledged(self, place: int, *, durable: bool = True) -> int:
        """How many calls, in order of commit, a cut at ``place`` must hold."""
        return max(
            (
                number
                for number, line in enumerate(self.lines, start=1)
                if line.answered_at is not None
                and line.answered_at <= place
                and line.changed
                and not (durable and line.relaxed)
            ),
            default=0,
        )

    async def check(self, rebuilt: SqliteStore, at_least: int) -> int:
        """The number of calls that the rebuilt store holds; else ``Unfaithful``."""
        now = rebuilt.writer.last_moment
        questions = Questions(line.call for line in self.lines)
        found = await questions.ask(rebuilt, now)
        for number in range(at_least, len(self._states)):
            if await self._state_seen(questions, number, now) == found:
                return number
        for before, state in self._unknown_states:
            if before >= at_least and await questions.ask(deepcopy(state), now) == found:
                return before
        for number in range(at_least):
            if await self._state_seen(questions, number, now) == found:
                lost = [line.call.method for line in self.lines[number:at_least]]
                raise Unfaithful(f"{number} calls of {at_least} acknowledged; lost: {lost}")
        raise Unfaithful(await self._nearest(questions, found, at_least, now))

    async def _nearest(self, questions: Questions, found: bytes, at_least: int, now: Moment) -> str:
        """How the state found differs from the most similar one that would be right."""
        differences = []
        for number in range(at_least, len(self._states)):
            seen = await self._state_seen(questions, number, now)
            lines = list(unified_diff(seen.decode().split("\n"), found.decode().split("\n"), n=9))
            differences.append((len(lines), number, lines))
        _, number, lines = min(differences)
        return "\n".join([f"nothing it ever was; nearest after {number} calls:", *lines[:200]])

    async def _state_seen(self, questions: Questions, number: int, now: Moment) -> bytes:
        known = self._seen.get((number, now))
        if known is None:
            known = await questions.ask(deepcopy(self._states[number]), now)
            self._seen[number, now] = known
        return known
