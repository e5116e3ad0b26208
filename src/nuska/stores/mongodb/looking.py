"""Reading a queue: its document and what belongs to it, of one instant."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from nuska.domain.errors import QueueAway
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position
from nuska.domain.queues import NOTHING_HELD, Measure
from nuska.stores.mongodb.connection import Connection, Session, bounded
from nuska.stores.mongodb.headers import Header, header_of, is_there
from nuska.stores.mongodb.records import Document, decode, queue_key
from nuska.stores.mongodb.timeline import since_boot
from nuska.stores.mongodb.writer import Writer

RELIED_ON_FOR = Duration(100)
"""Milliseconds after a look at a queue's document: a delete that has come about by then need
not look again, since a fence that came meanwhile is not finished before."""

T = TypeVar("T")


@dataclass(slots=True, frozen=True)
class Seen:
    """A queue that is not fenced, and when that was seen."""

    header: Header
    since: int
    """Milliseconds since boot, before the look began."""
    term: object | None = None
    """Of the primary that was asked, where that is known."""

    @property
    def is_fresh(self) -> bool:
        """Whether whatever has come about since was there before any fence was finished."""
        return since_boot() - self.since < RELIED_ON_FOR

    def is_fresh_for(self, term: object | None) -> bool:
        """The same of what the primary of that term has done. Another one may have been asked,
        which had lost its office without knowing it: what that showed may be old."""
        return term is not None and term == self.term and self.is_fresh


class View:
    """A queue that exists, as it is at one instant."""

    def __init__(
        self, connection: Connection, session: Session, header: Header, now: Moment
    ) -> None:
        self._records = connection.in_session
        self._session = session
        self.header = header
        self.now = now

    async def find(self, query: Document, *, sort: Any = None, limit: int = 0) -> list[Document]:
        cursor = self._records.find(
            {"q": self.header.key, **query}, session=self._session, limit=limit
        )
        if sort is not None:
            cursor = cursor.sort(sort)
        return await cursor.to_list()

    async def by_position(
        self, generation: bytes, after: Position, limit: int, also: Document | None = None
    ) -> list[Message]:
        """Of a generation, of messages or of announcements, what has not expired."""
        query = {"g": generation, "p": {"$gt": after}, "e": {"$gt": self.now}} | (also or {})
        found = await self.find(query, sort="p", limit=limit) if limit > 0 else []
        return [decode(document, self.now) for document in found]

    async def announced(self, after: Position, limit: int) -> list[Message]:
        log = self.header.log
        return [] if log is None else await self.by_position(log.generation, after, limit)

    async def measured(self, after: Position, limit: int) -> Measure:
        """How much a stretch of the queue holds, counted by the server."""
        lives = {"$gt": ["$e", self.now]}
        size = {"$add": [{"$binarySize": "$b"}, {"$ifNull": [{"$binarySize": "$a"}, 0]}]}
        stretch = {"q": self.header.key, "g": self.header.generation, "p": {"$gt": after}}
        [*found] = await self.aggregate(
            [
                {"$match": stretch},
                {"$sort": {"p": 1}},
                {"$limit": limit},
                {
                    "$group": {
                        "_id": None,
                        "looked": {"$sum": 1},
                        "last": {"$max": "$p"},
                        "held": {"$sum": {"$cond": [lives, 1, 0]}},
                        "size": {"$sum": {"$cond": [lives, size, 0]}},
                    }
                },
            ]
        )
        if not found:
            return NOTHING_HELD
        [counted] = found
        return Measure(
            messages=int(counted["held"]),
            bytes=int(counted["size"]),
            marker=Position(int(counted["last"])) if counted["looked"] == limit else None,
        )

    async def aggregate(self, pipeline: list[Mapping[str, Any]]) -> list[Document]:
        cursor = await self._records.aggregate(pipeline, session=self._session)
        return await cursor.to_list()


class Reader:
    """Opens views."""

    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer

    async def see(self, ref: QueueRef) -> Seen | None:
        """The queue as a majority has it, at its own moment."""
        since, term = since_boot(), self._connection.term()
        header = await self.stored(ref)
        if header is None or not header.exists:
            return None
        self._writer.generations.note(header)
        return Seen(header, since, term)

    async def stored(self, ref: QueueRef) -> Header | None:
        """What is known of the name, at the queue's own moment, whether or not it exists."""
        key = queue_key(ref)
        with bounded():
            found = await self._connection.records.find_one({"_id": key, "q": key})
        if found is None:
            return None
        header = header_of(ref, found)
        if header.fenced:
            raise QueueAway
        return header

    async def still_has(self, seen: Seen) -> bool:
        """Whether the queue is not fenced and still as it was ``seen``, so that what was done to
        its messages since, without opening it, was done to the queue.

        A delete that a fence came before was of no use, and of no harm: the message may be a
        copy by now, and whoever asks again, where the queue lies then, deletes that.
        """
        key = seen.header.key
        query = {"_id": key, "q": key, "fenced": {"$exists": False}}
        with bounded():
            found = await self._connection.records.find_one(query, {"generation": 1})
        return found is not None and found["generation"] == seen.header.generation

    async def look(
        self,
        ref: QueueRef,
        now: Moment,
        find: Callable[[View], Awaitable[T]],
        nothing: T,
        *,
        carries: bool = False,
    ) -> T:
        """What ``find`` finds in the queue, or ``nothing`` when there is no such queue.

        Raises ``QueueAway`` when the queue is fenced, unless who looks ``carries`` it.
        """
        moment = self._writer.moment(now)
        key = queue_key(ref)
        records = self._connection.in_session

        async def work(session: Session) -> T:
            found = await records.find_one({"_id": key, "q": key}, session=session)
            if found is None or not is_there(found):
                return nothing
            header = header_of(ref, found)
            if header.fenced and not carries:
                raise QueueAway
            seen = self._writer.moment(Moment(max(moment, header.moment)))
            return await find(View(self._connection, session, header, seen))

        return await self._connection.read(work)
