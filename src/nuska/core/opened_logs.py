"""Announcement logs as those read them who tell others: with bodies as they were posted."""

from msgspec.structs import replace

from nuska.core.bodies import Bodies
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.interfaces.announcing import AnnouncementStore, OpenLog


class OpenedLogs:
    """``AnnouncementStore`` over another one. What nobody can open any more has expired."""

    def __init__(self, logs: AnnouncementStore, bodies: Bodies) -> None:
        self._logs = logs
        self._bodies = bodies

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        return await self._logs.open(queue, now=now)

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        return await self._logs.state(queue, now=now)

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        return await self._logs.close(queue, version=version, now=now)

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        found = await self._logs.page(queue, after=after, limit=limit, now=now)
        opened = await self._bodies.open(queue, found)
        if len(opened) == len(found):
            return opened
        readable = {message.position: message for message in opened}
        return [
            readable.get(message.position) or replace(message, expires_at=now) for message in found
        ]

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        return await self._logs.trim(queue, through=through, now=now)
