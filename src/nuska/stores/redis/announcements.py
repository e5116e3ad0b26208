"""Announcement logs on Redis: a field of a queue's header, and a stream beside its messages.

The field says that the log is open, and with which version; it is where every post looks
anyway. ``library/announcements.lua`` says more.
"""

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.interfaces.announcing import OpenLog
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.walking import walk


class RedisAnnouncements:
    """``AnnouncementStore`` on Redis."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        _, version, last = await self._calls.maintain("nuska_open_log", queue, now)
        return OpenLog(version.decode(), Position(int(last)))

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        _, version, last = await self._calls.read("nuska_log_state", queue, now)
        return OpenLog(version.decode(), Position(int(last))) if version else None

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        answer = await self._calls.write("nuska_close_log", queue, now, version)
        return bool(answer[0] == b"closed")

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        return await walk(self._calls, "nuska_page_log", queue, after, limit, now)

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        answer = await self._calls.maintain("nuska_trim_log", queue, now, through)
        return bool(answer[1])
