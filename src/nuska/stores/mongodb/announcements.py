"""Announcement logs: what was posted to a queue while somebody listens, in the queue's partition.

Whether a log is open is written in the queue's own document, which a post changes anyway and
thereby reads; so a post to a queue that nobody listens to costs nothing more, and a post that
begins after an opening was acknowledged, on whichever node, sees it. That document stays while
the log is open, also when the queue is deleted. A log has a generation of its own: closing it,
and a purge or the deletion of the queue, leave that behind, and the sweep removes it.
"""

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.interfaces.announcing import OpenLog
from nuska.stores.mongodb.looking import Reader, View
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer

TRIMMED_AT_ONCE = 200
"""Announcements that one step removes, in a transaction that posts may have to wait for."""


class MongoAnnouncements:
    """``AnnouncementStore`` on MongoDB."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        async def work(transaction: Transaction) -> OpenLog:
            header = await transaction.open(queue)
            return OpenLog(header.open_log().version, header.below)

        return await self._writer.run(queue, work, now=now)

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        self._writer.moment(now)
        header = await self._reader.stored(queue)
        if header is None or header.log is None:
            return None
        return OpenLog(header.log.version, header.below)

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        async def work(transaction: Transaction) -> bool:
            header = await transaction.open(queue)
            if header.log is None or header.log.version != version:
                return False
            await transaction.leave_behind(header, header.close_log())
            return True

        return await self._writer.run(queue, work, now=now)

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        async def find(view: View) -> list[Message]:
            return await view.announced(after, limit)

        return await self._reader.look(queue, now, find, [])

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        async def work(transaction: Transaction) -> bool:
            header = await transaction.open(queue)
            if header.log is None:
                return False
            old = await transaction.find(
                {"q": header.key, "g": header.log.generation, "p": {"$lte": through}},
                sort="p",
                limit=TRIMMED_AT_ONCE,
                fields=["_id"],
            )
            if old:
                await transaction.delete(header.key, [one["_id"] for one in old])
            else:
                transaction.found_nothing()
            return len(old) == TRIMMED_AT_ONCE

        return await self._writer.run(queue, work, now=now)
