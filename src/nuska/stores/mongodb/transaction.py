"""One transaction: queues opened for writing, and what is done to their documents.

Opening a queue changes its document (``writes`` goes up), so MongoDB refuses all but one of
the transactions that have the same queue open. Knows nothing of retries; see ``writer.py``.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pymongo import ReturnDocument, UpdateOne

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.stores.mongodb.connection import Collection, Session
from nuska.stores.mongodb.headers import Header, header_of, unknown
from nuska.stores.mongodb.records import Document, queue_key

T = TypeVar("T")


class Transaction:
    """What the operations of a group share."""

    def __init__(self, records: Collection, session: Session, now: Moment) -> None:
        self._records = records
        self._session = session
        self._now = now
        self._open: dict[QueueRef, Header] = {}
        self._has_written = False
        self._acknowledges = False
        self._is_idle = False

    async def carry_out(self, work: Callable[["Transaction"], Awaitable[T]]) -> T:
        """What ``work`` returns. It tells its caller of something, unless it says otherwise."""
        self._is_idle = False
        answer = await work(self)
        self._acknowledges = self._acknowledges or not self._is_idle
        return answer

    def found_nothing(self) -> None:
        """The present work has nothing to tell that anybody could rely on."""
        self._is_idle = True

    @property
    def is_worth_committing(self) -> bool:
        """Also when nothing was written here but seen: what others wrote may not be with a
        majority yet, and is once this is committed."""
        return self._has_written or self._acknowledges

    async def open(self, ref: QueueRef) -> Header:
        """The queue's document, whether or not the queue exists, at the group's moment."""
        header = self._open.get(ref)
        if header is None:
            key = queue_key(ref)
            found = await self._records.find_one_and_update(
                {"_id": key, "q": key},
                {"$inc": {"writes": 1}, "$max": {"moment": self._now}},
                return_document=ReturnDocument.AFTER,
                session=self._session,
            )
            header = unknown(ref, self._now) if found is None else header_of(ref, found)
            self._open[ref] = header
        return header

    async def open_or_create(self, ref: QueueRef) -> Header:
        header = await self.open(ref)
        if not header.exists:
            header.create({}, relaxed=False)
        return header

    async def leave_behind(self, header: Header, generation: bytes) -> None:
        """Note a generation that is to be swept."""
        document = {"_id": header.key + generation, "q": header.key, "old": generation}
        await self.insert([document])

    async def find(
        self, query: Document, *, sort: str | None = None, limit: int = 0
    ) -> list[Document]:
        cursor = self._records.find(query, session=self._session, limit=limit)
        if sort is not None:
            cursor = cursor.sort(sort)
        return await cursor.to_list()

    async def insert(self, documents: Sequence[Document]) -> None:
        self._has_written = True
        await self._records.insert_many(documents, session=self._session)

    async def write(self, operations: Sequence[Any]) -> None:
        """Several updates in one message."""
        self._has_written = True
        await self._records.bulk_write(operations, session=self._session)

    async def delete(self, queue: bytes, keys: Sequence[bytes]) -> None:
        self._has_written = True
        query = {"_id": {"$in": list(keys)}, "q": queue}
        await self._records.delete_many(query, session=self._session)

    async def finish(self) -> None:
        """Store changed queue documents."""
        changed = [header for header in self._open.values() if header.changed]
        if changed:
            await self.write(
                [
                    UpdateOne({"_id": one.key, "q": one.key}, one.changes(), upsert=True)
                    for one in changed
                ]
            )

    @property
    def moment(self) -> Moment:
        """The latest moment any queue in here has seen."""
        return Moment(max((one.moment for one in self._open.values()), default=self._now))
