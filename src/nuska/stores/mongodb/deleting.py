"""Deleting messages, which opens no queue: it is in nobody's way who changes other messages.

Each message is deleted only if it still is what it has to be, which MongoDB decides. What is true
of the queue, whether it is fenced, its generation and its moment, is looked up: before a single
message is deleted, and while several are, in a transaction that is given up when what it took for
granted was wrong.
"""

import asyncio
from collections.abc import Sequence

from nuska.domain.messages import DeleteOutcome, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import parse_claim_id
from nuska.stores.mongodb.connection import busy
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.looking import Reader, Seen
from nuska.stores.mongodb.records import Document, claim_key, message_keys, queue_key
from nuska.stores.mongodb.timeline import since_boot
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer

DELETED_ANEW_AT_MOST = 5
"""How often a queue may be purged, or carried away and back, under one request."""
SEEN_AT_MOST = 1_000
"""Queues."""
LASTS = Duration(1_000)
"""Milliseconds that messages and their claims must have left to be deleted before it is known
how late it is at the queue."""


class Deleting:
    """The deletes of ``MessageStore``."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._seen: dict[QueueRef, Seen] = {}
        """The last look at queues from which single messages were deleted just now."""

    async def one(
        self, queue: QueueRef, message_id: str, claim_id: str | None, now: Moment
    ) -> DeleteOutcome:
        if await self._relying_on_last_look(queue, message_id, claim_id, now):
            return DeleteOutcome.DELETED
        seen = await self._look(queue)
        keys = [] if seen is None else message_keys(seen.header.generation, [message_id])
        if seen is None or not keys:
            return DeleteOutcome.MISSING
        now = self._writer.moment(Moment(max(now, seen.header.moment)))
        query = {"_id": keys[0], "q": seen.header.key} | _alive(now) | _deletable(now, claim_id)
        deleted, term = await self._writer.delete_one(query)
        if deleted and await self._holds(seen, term):
            return DeleteOutcome.DELETED

        async def say_why_not(transaction: Transaction) -> DeleteOutcome:
            header = await transaction.open(queue)
            found = await _existing(transaction, header, message_id)
            if not found:
                return DeleteOutcome.MISSING
            outcome = await _may_delete(transaction, header, found[0], claim_id)
            if outcome is DeleteOutcome.DELETED:
                await transaction.delete(header.key, [found[0]["_id"]])
            return outcome

        return await self._writer.run(queue, say_why_not, now=now)

    async def _look(self, queue: QueueRef) -> Seen | None:
        seen = await self._reader.see(queue)
        self._seen.pop(queue, None)
        if seen is not None:
            self._seen[queue] = seen
            if len(self._seen) > SEEN_AT_MOST:
                del self._seen[next(iter(self._seen))]
        return seen

    async def _relying_on_last_look(
        self, queue: QueueRef, message_id: str, claim_id: str | None, now: Moment
    ) -> bool:
        """Delete without looking again, after a look that still may be relied on then. Whether
        that was done; what would have to be known more exactly is not."""
        seen = self._seen.get(queue)
        keys = (
            message_keys(seen.header.generation, [message_id])
            if seen is not None and seen.is_fresh
            else []
        )
        if seen is None or not keys:
            return False
        now = self._writer.moment(Moment(max(now, seen.header.moment)))
        until = Moment(now + LASTS)  # it may be later there than we know
        still = _deletable(now if claim_id is None else until, claim_id)
        query = {"_id": keys[0], "q": seen.header.key} | _alive(until) | still
        deleted, term = await self._writer.delete_one(query)
        return bool(deleted) and await self._holds(seen, term)

    async def many(
        self, queue: QueueRef, ids: Sequence[str], claim_ids: Sequence[str] | None, now: Moment
    ) -> bool:
        if await self._all_as_guessed(queue, ids, claim_ids, now):
            return True

        async def work(transaction: Transaction) -> tuple[bool, Seen | None]:
            since = since_boot()
            header = await transaction.look(queue)
            if header is None:
                return True, None
            return await _delete_these(transaction, header, ids, claim_ids), Seen(header, since)

        for _ in range(DELETED_ANEW_AT_MOST):
            answer, seen = await self._writer.run_alone(work, now=now)
            if seen is None or seen.is_fresh or await self._reader.still_has(seen):
                return answer
        raise busy()

    async def _all_as_guessed(
        self, queue: QueueRef, ids: Sequence[str], claim_ids: Sequence[str] | None, now: Moment
    ) -> bool:
        """Delete while we look whether the queue is as we remember it. Whether all of them were
        there, and would be at every moment that may be the right one, and are deleted."""
        generation = self._writer.generations.guess(queue)
        keys = [] if generation is None else message_keys(generation, ids)
        if not keys:
            return False

        async def work(transaction: Transaction) -> tuple[Seen | None, object | None]:
            until = Moment(transaction.moment + LASTS)
            still = _alive(until) | _held(until, claim_ids)
            looked, deleted = await asyncio.gather(
                self._reader.see(queue),
                transaction.delete(queue_key(queue), keys, still),
                return_exceptions=True,
            )
            if isinstance(deleted, BaseException):
                raise deleted
            if isinstance(looked, BaseException):
                transaction.undo()
                raise looked
            if (
                looked is None
                or looked.header.generation != generation
                or looked.header.moment > until
                or deleted < len(keys)
            ):
                transaction.undo()
                return None, None
            return looked, transaction.term

        seen, term = await self._writer.run_alone(work, now=now)
        return seen is not None and await self._holds(seen, term)

    async def _holds(self, seen: Seen, term: object | None) -> bool:
        """Whether what the primary of that term did was done to the queue."""
        return seen.is_fresh_for(term) or await self._reader.still_has(seen)


async def _delete_these(
    transaction: Transaction, header: Header, ids: Sequence[str], claim_ids: Sequence[str] | None
) -> bool:
    """Those that exist; none, and False, if one of them is in no claim that is named."""
    keys = message_keys(header.generation, ids)
    if not keys:
        return True
    alive, held = _alive(header.moment), _held(header.moment, claim_ids)
    deleted = await transaction.delete(header.key, keys, alive | held)
    if held and deleted < len(keys):
        others = {"_id": {"$in": keys}, "q": header.key} | alive
        if await transaction.find(others, limit=1):
            transaction.undo()
            return False
    return True


def _alive(now: Moment) -> Document:
    return {"e": {"$gt": now}}


def _held(now: Moment, claim_ids: Sequence[str] | None) -> Document:
    """What messages are like that are in one of these claims, if it matters."""
    if claim_ids is None:
        return {}
    named = [parse_claim_id(one) for one in claim_ids]
    return {"v": {"$gt": now}, "k": {"$in": [one for one in named if one]}}


async def _existing(transaction: Transaction, header: Header, message_id: str) -> list[Document]:
    keys = message_keys(header.generation, [message_id]) if header.exists else []
    query = {"_id": {"$in": keys}, "q": header.key} | _alive(header.moment)
    return await transaction.find(query) if keys else []


def _deletable(now: Moment, claim_id: str | None) -> Document:
    """What a message is like that may be deleted like this: the row ``DELETED`` of the table."""
    if claim_id is None:
        return {"$or": [{"k": {"$exists": False}}, {"v": {"$lte": now}}]}
    return {"k": parse_claim_id(claim_id) or {"$in": []}, "v": {"$gt": now}}


def _holder(document: Document, header: Header) -> bytes | None:
    """The live claim that a message is in."""
    held: bytes | None = document.get("k") if document["v"] > header.moment else None
    return held


async def _may_delete(
    transaction: Transaction, header: Header, document: Document, claim_id: str | None
) -> DeleteOutcome:
    """The table of contract http-v2 §3.5, for a message that exists."""
    holder = _holder(document, header)
    if claim_id is None:
        return DeleteOutcome.DELETED if holder is None else DeleteOutcome.CLAIMED
    claim = parse_claim_id(claim_id)
    if claim is None:
        return DeleteOutcome.CLAIM_GONE
    key = claim_key(header.generation, claim)
    live = {"_id": key, "q": header.key, "e": {"$gt": header.moment}}
    if not await transaction.find(live):
        return DeleteOutcome.CLAIM_GONE
    if holder is None:
        return DeleteOutcome.NOT_CLAIMED
    return DeleteOutcome.DELETED if holder == claim else DeleteOutcome.OTHER_CLAIM
