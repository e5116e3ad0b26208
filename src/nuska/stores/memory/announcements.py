"""Announcement logs of the model store."""

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.announcing import OpenLog
from nuska.stores.memory.state import Log, State

TRIMMED_AT_ONCE = 100


class MemoryAnnouncements:
    def __init__(self, state: State) -> None:
        self._state = state

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        now = self._state.at(now)
        self._state.find(queue)
        return self._seen(queue, self._state.open_log(queue), now)

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        now = self._state.at(now)
        self._state.find(queue)
        log = self._state.logs.get(queue)
        return None if log is None else self._seen(queue, log, now)

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        self._state.at(now)
        self._state.find(queue)
        log = self._state.logs.get(queue)
        if log is None or log.version != version:
            return False
        self._state.close_log(queue)
        return True

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        now = self._state.at(now)
        self._state.find(queue)
        log = self._state.logs.get(queue)
        return [] if log is None else log.alive(after, now)[:limit]

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        now = self._state.at(now)
        self._state.find(queue)
        log = self._state.logs.get(queue)
        if log is None:
            return False
        log.announced = log.alive(BEFORE_ALL, now)
        old = [m for m in log.announced if m.position <= through]
        log.announced = log.announced[min(len(old), TRIMMED_AT_ONCE) :]
        return len(old) > TRIMMED_AT_ONCE

    def _seen(self, queue: QueueRef, log: Log, now: Moment) -> OpenLog:
        state = self._state.queues.get(queue)
        last = self._state.below(queue, now) if state is None else state.last_position
        return OpenLog(log.version, last)
