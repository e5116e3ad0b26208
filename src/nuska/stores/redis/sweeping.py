"""Clears away what is over, queue by queue as the due index says.

An entry of the index that was worked off is replaced by one for the queue's next moment,
written before the queue says that it relies on it, and only then removed: whoever stops in
between leaves an entry too many, never one too few. Several nodes may sweep at once.
"""

import asyncio

from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.interfaces.storage import SweepReport
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.names import DUE_SHARDS, queue_of_tag
from nuska.stores.redis.outbox import Outbox

QUEUES_PER_STEP = 8
ENTRIES_LOOKED_AT = 50
SETTLINGS_AT_MOST = 20
UNADOPTED = Duration(60_000)
"""An entry for a queue nobody knows is younger than this while the queue is being created."""


class Entry(Struct, frozen=True):
    """One entry of the due index."""

    key: str
    member: bytes
    at: Moment

    @property
    def queue(self) -> QueueRef:
        return queue_of_tag(self.member.decode().partition("@")[0])


class Sweeper:
    """One step at a time; see ``interfaces.storage.Store.sweep``."""

    def __init__(self, calls: Calls, outbox: Outbox) -> None:
        self._calls = calls
        self._outbox = outbox
        self._turn = 0

    async def sweep(self, now: Moment) -> SweepReport:
        now = self._calls.moment(now)
        entries = await self._due(now)
        outcomes = await asyncio.gather(
            *(self._work_off(entry, now) for entry in entries), return_exceptions=True
        )
        removed, due, more = 0, dict[QueueRef, None](), False
        problem: BaseException | None = None
        for entry, outcome in zip(entries, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                problem = outcome
                continue
            removed += outcome[0]
            more = True
            if outcome[1]:
                due[entry.queue] = None
        if problem is not None and not more:
            raise problem
        return SweepReport(removed=removed, due=list(due), more=more)

    async def _due(self, now: Moment) -> list[Entry]:
        """A few entries whose moment has come, one per queue, from all parts in turn."""
        self._turn = (self._turn + 1) % DUE_SHARDS
        keys = self._calls.names.due[self._turn :] + self._calls.names.due[: self._turn]
        parts = await asyncio.gather(*(self._due_of(key, now) for key in keys))
        chosen: dict[QueueRef, Entry] = {}
        for entry in (entry for part in parts for entry in part):
            chosen.setdefault(entry.queue, entry)
        return list(chosen.values())[:QUEUES_PER_STEP]

    async def _due_of(self, key: str, now: Moment) -> list[Entry]:
        found = await self._calls.command(
            key, "ZRANGE", key, "-inf", now, "BYSCORE", "LIMIT", 0, ENTRIES_LOOKED_AT, "WITHSCORES"
        )
        return [
            Entry(key, member, Moment(int(score)))
            for member, score in zip(found[::2], found[1::2], strict=True)
        ]

    async def _work_off(self, entry: Entry, now: Moment) -> tuple[int, bool]:
        """What was removed, and whether messages became available."""
        queue = entry.queue
        answer = await self._calls.maintain("nuska_sweep_queue", queue, now, 1)
        if answer[0] == b"unknown":
            if entry.at + UNADOPTED < now:
                await self._remove(entry)
            return 0, False
        _, removed, due, more, work, promise, unlist, outbox = answer
        if outbox:
            await self._outbox.deliver_soon(queue, now)
        if not more:
            if unlist:
                await self._calls.unlist(queue, unlist.decode())
            await self._settle(entry, now, work.decode(), promise.decode())
            await self._remove(entry)
        return removed, bool(due)

    async def _settle(self, entry: Entry, now: Moment, work: str, promise: str) -> None:
        """Let the queue rely on an entry for its next moment, which is written first."""
        for _ in range(SETTLINGS_AT_MOST):
            if work and promise == str(entry.at):
                await self._calls.promise(entry.queue, Moment(int(work)))
            answer = await self._calls.maintain(
                "nuska_settle_queue", entry.queue, now, entry.at, work
            )
            if answer[0] == b"settled":
                return
            work = answer[1].decode()
        raise Unavailable("The queue changes too quickly to be swept.")

    async def _remove(self, entry: Entry) -> None:
        await self._calls.command(entry.key, "ZREM", entry.key, entry.member)
