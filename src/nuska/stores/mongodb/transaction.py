"""One transaction: queues opened for writing, and what is done to their documents.

Opening a queue changes its document (``writes`` goes up), so MongoDB refuses all but one of
the transactions that have the same queue open. Knows nothing of retries; see ``writer.py``.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from pymongo import ReturnDocument, UpdateOne

from nuska.domain.errors import QueueAway, QueueMissing
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.stores.mongodb.connection import Collection, Session
from nuska.stores.mongodb.generations import Generations
from nuska.stores.mongodb.headers import Header, header_of, is_there, opened, unknown
from nuska.stores.mongodb.records import Document, queue_key

T = TypeVar("T")


class Transaction:
    """What the operations of a group share."""

    def __init__(
        self,
        records: Collection,
        session: Session,
        now: Moment,
        positions: dict[QueueRef, int],
        generations: Generations,
    ) -> None:
        """``positions``: how many its works may need, where that is known."""
        self._records = records
        self._session = session
        self._now = now
        self._positions = positions
        self._open: dict[QueueRef, Header] = {}
        self._has_written = False
        self._acknowledges = False
        self._is_idle = False
        self._is_undone = False
        self._unsent: list[Any] = []
        self._generations = generations
        self.term: object | None = None
        """That of the primary which carries this out, once something was deleted."""

    async def carry_out(self, work: Callable[["Transaction"], Awaitable[T]]) -> T:
        """What ``work`` returns. It tells its caller of something, unless it says otherwise."""
        self._is_idle = False
        answer = await work(self)
        self._acknowledges = self._acknowledges or not self._is_idle
        return answer

    def found_nothing(self) -> None:
        """The present work has nothing to tell that anybody could rely on."""
        self._is_idle = True

    def undo(self) -> None:
        """Nothing of this is to happen. For a work that is alone in its transaction."""
        self._is_undone = True

    @property
    def is_worth_committing(self) -> bool:
        """Also when nothing was written here but seen: what others wrote may not be with a
        majority yet, and is once this is committed."""
        return not self._is_undone and (self._has_written or self._acknowledges)

    async def open(self, ref: QueueRef) -> Header:
        """The queue's document, whether or not the queue exists, at the group's moment.

        Raises ``QueueAway`` when the queue is fenced.
        """
        header = await self.open_any(ref)
        if header.fenced:
            raise QueueAway
        return header

    async def open_any(self, ref: QueueRef) -> Header:
        """The same for who carries queues, to whom a fenced one is as good as any."""
        header = self._open.get(ref)
        if header is None:
            key, positions = queue_key(ref), self._positions.get(ref, 0)
            found = await self._records.find_one_and_update(
                {"_id": key, "q": key},
                opened(self._now, positions),
                return_document=ReturnDocument.AFTER,
                session=self._session,
            )
            header = unknown(ref, self._now) if found is None else header_of(ref, found, positions)
            self._open[ref] = header
            self._generations.note(header)
        return header

    async def look(self, ref: QueueRef) -> Header | None:
        """The queue, if it exists, as this transaction's snapshot has it; not opened: what is
        done to its messages is in nobody's way who does something else.

        Raises ``QueueAway`` when the queue is fenced.
        """
        key = queue_key(ref)
        found = await self._records.find_one({"_id": key, "q": key}, session=self._session)
        if found is None or not is_there(found):
            return None
        header = header_of(ref, found)
        if header.fenced:
            raise QueueAway
        self._generations.note(header)
        header.moment = Moment(max(header.moment, self._now))
        return header

    async def open_or_create(self, ref: QueueRef, *, create: bool = True) -> Header:
        header = await self.open(ref)
        if not header.exists:
            if not create:
                raise QueueMissing
            header.create({}, relaxed=False)
        return header

    async def leave_behind(self, header: Header, generations: Sequence[bytes]) -> None:
        """Note generations that are to be swept."""
        if generations:
            await self.insert(
                [{"_id": header.key + old, "q": header.key, "old": old} for old in generations]
            )

    async def find(
        self,
        query: Document,
        *,
        sort: str | None = None,
        limit: int = 0,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        """Whole documents, or their keys and ``fields``."""
        await self._send()
        cursor = self._records.find(query, fields, session=self._session, limit=limit)
        if sort is not None:
            cursor = cursor.sort(sort)
        return await cursor.to_list()

    async def insert(self, documents: Sequence[Document]) -> None:
        await self._send()
        self._has_written = True
        await self._records.insert_many(documents, session=self._session)

    async def delete(
        self, queue: bytes, keys: Sequence[bytes], still: Document | None = None
    ) -> int:
        """Delete those of ``keys`` that are ``still`` so; how many."""
        await self._send()
        self._has_written = True
        query = {"_id": {"$in": list(keys)}, "q": queue} | (still or {})
        done = await self._records.delete_many(query, session=self._session)
        self.term = done.raw_result.get("electionId")
        return done.deleted_count

    def write(self, operations: Sequence[Any]) -> None:
        """Several changes; sent in one message, with what follows, before anything is read."""
        self._has_written = True
        self._unsent += operations

    async def _send(self) -> None:
        if self._unsent:
            operations, self._unsent = self._unsent, []
            await self._records.bulk_write(operations, session=self._session)

    async def finish(self) -> None:
        """Store changed queue documents, and what has not been sent."""
        for header in self._open.values():
            header.give_back()
            if header.changed:
                key = {"_id": header.key, "q": header.key}
                self.write([UpdateOne(key, header.changes(), upsert=True)])
        await self._send()

    @property
    def moment(self) -> Moment:
        """The latest moment any queue in here has seen."""
        return Moment(max((one.moment for one in self._open.values()), default=self._now))
