"""Announcement logs over several stores: each lies beside its queue, and is carried with it.

That a log is open is written in the catalogue (``logs.py``), since it stays open when its queue
is deleted, and made again in another pool.
"""

from msgspec.structs import replace

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position, floor_at
from nuska.interfaces.announcing import OpenLog
from nuska.interfaces.pooling import PoolableStore
from nuska.stores.pooled.logs import TRIES
from nuska.stores.pooled.placing import Placing

APART = Duration(600_000)
"""Far more than the clocks of two nodes differ by: who makes the queue may be another one."""


class PooledAnnouncements:
    """``AnnouncementStore`` over the stores of a catalogue."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing
        self._logs = placing.logs

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        version = await self._logs.open(queue)
        opened = await self._open_there(queue, now)
        return await self._as_written(queue, opened, version, now)

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        there = await self._state_there(queue, now)
        version = await self._logs.version(queue)
        if version is None and there is not None:
            version = await self._logs.adopt(queue)
        if version is None:
            return None
        if there is None:  # who opened it died in between, unless there is no queue
            there = await self._open_there(queue, now)
        return await self._as_written(queue, there, version, now)

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        """Closed in the store first: what is open there without a record, nobody would find."""
        for _ in range(TRIES):
            there = await self._state_there(queue, now)
            if await self._logs.version(queue) != version:
                return False
            if there is None or await self._close_there(queue, there, now):
                break  # else it was opened, or the queue has moved
        closed = await self._logs.close(queue, version)
        there = await self._state_there(queue, now)
        if there is not None and await self._logs.version(queue) is None:
            await self._close_there(queue, there, now)  # the queue was made in between
        return closed

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        return await self._placing.use(
            queue,
            lambda store: store.announcements.page(queue, after=after, limit=limit, now=now),
            otherwise=[],
        )

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        return await self._placing.use(
            queue,
            lambda store: store.announcements.trim(queue, through=through, now=now),
            otherwise=False,
        )

    async def _open_there(self, queue: QueueRef, now: Moment) -> OpenLog | None:
        """None when the queue does not exist."""

        async def open_log(store: PoolableStore) -> OpenLog | None:
            return await store.announcements.open(queue, now=now)

        return await self._placing.use(queue, open_log, otherwise=None)

    async def _state_there(self, queue: QueueRef, now: Moment) -> OpenLog | None:
        return await self._placing.use(
            queue, lambda store: store.announcements.state(queue, now=now), otherwise=None
        )

    async def _close_there(self, queue: QueueRef, seen: OpenLog, now: Moment) -> bool:
        return await self._placing.use(
            queue,
            lambda store: store.announcements.close(queue, version=seen.version, now=now),
            otherwise=True,
        )

    async def _as_written(
        self, queue: QueueRef, there: OpenLog | None, version: str, now: Moment
    ) -> OpenLog:
        if there is not None:
            return replace(there, version=version)
        earliest = Position(floor_at(Moment(now - APART)) - 1)
        return OpenLog(version, max(earliest, await self._logs.end(queue)))
