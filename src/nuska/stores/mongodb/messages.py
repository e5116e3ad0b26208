"""Messages: post, read, delete, pop."""

from collections.abc import Sequence

from pymongo import ReplaceOne

from nuska.domain.errors import Conflict
from nuska.domain.limits import IDEMPOTENCY_TTL
from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.moments import Moment
from nuska.domain.moments import after as moment_after
from nuska.domain.positions import (
    SALT_BYTES,
    MessageId,
    Position,
    message_id,
    parse_claim_id,
    parse_message_id,
)
from nuska.interfaces.storage import RandomBytes
from nuska.stores.mongodb.choosing import candidates, make_due_ready
from nuska.stores.mongodb.connection import busy
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.looking import Reader, Seen, View
from nuska.stores.mongodb.records import (
    Document,
    announcement,
    claim_key,
    decode,
    encode,
    message_key,
    post_key,
)
from nuska.stores.mongodb.timeline import since_boot
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer

DELETED_ANEW_AT_MOST = 5
"""How often a queue may be purged, or carried away and back, under one request."""


class MongoMessages:
    """``MessageStore`` on MongoDB."""

    def __init__(self, writer: Writer, reader: Reader, random_bytes: RandomBytes) -> None:
        self._writer = writer
        self._reader = reader
        self._random_bytes = random_bytes

    async def add(
        self,
        queue: QueueRef,
        messages: Sequence[NewMessage],
        *,
        poster: bytes = b"",
        idempotency: Idempotency | None = None,
        create: bool = True,
        now: Moment,
    ) -> Added:
        salts: list[bytes] = []

        async def work(transaction: Transaction) -> Added:
            header = await transaction.open(queue)
            if idempotency is not None and header.exists:
                earlier = await _earlier_post(transaction, header, idempotency)
                if earlier is not None:
                    return Added(earlier, replayed=True)
            header = await transaction.open_or_create(queue, create=create)
            if not salts:  # drawn once, however often this is tried
                salts.extend(self._random_bytes(SALT_BYTES) for _ in messages)
            posted = [
                _message(header, new, salt, poster)
                for new, salt in zip(messages, salts, strict=True)
            ]
            ids = [message.id for message in posted]
            if posted:
                await transaction.insert(_documents(header, posted))
            if idempotency is not None:
                transaction.write([_remember(header, idempotency, ids)])
            return Added(ids)

        return await self._writer.run(queue, work, positions=len(messages), now=now)

    async def page(
        self,
        queue: QueueRef,
        *,
        after: Position,
        limit: int,
        hide_poster: bytes | None = None,
        include_claimed: bool = False,
        include_delayed: bool = False,
        now: Moment,
    ) -> Page:
        async def find(view: View) -> Page:
            also: Document = {}
            if hide_poster is not None:
                also["o"] = {"$ne": hide_poster}
            if not (include_claimed and include_delayed):
                also["$or"] = _shown(view.now, claimed=include_claimed, delayed=include_delayed)
            shown = await view.by_position(view.header.generation, after, limit, also)
            return Page(shown, marker=shown[-1].position if shown else after)

        return await self._reader.look(queue, now, find, Page([], marker=after))

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        parsed = parse_message_id(message_id)
        if parsed is None:
            return None

        async def find(view: View) -> Position:
            query = {"_id": message_key(view.header.generation, message_id)}
            found = await view.find(query | {"e": {"$gt": view.now}}, limit=1)
            return Position(found[0]["p"]) if found else parsed[0]

        return await self._reader.look(queue, self._writer.latest, find, parsed[0])

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        async def find(view: View) -> list[Message]:
            keys = _keys(view.header, ids)
            if not keys:
                return []
            found = await view.find({"_id": {"$in": keys}, "e": {"$gt": view.now}})
            there = {document["_id"]: document for document in found}
            return [decode(there[key], view.now) for key in keys if key in there]

        return await self._reader.look(queue, now, find, [])

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        seen = await self._reader.see(queue, now)
        keys = [] if seen is None else _keys(seen.header, [message_id])
        if seen is None or not keys:
            return DeleteOutcome.MISSING
        header = seen.header
        query = {"_id": keys[0], "q": header.key, "e": {"$gt": header.moment}}
        query |= _deletable(header.moment, claim_id)
        deleted, term = await self._writer.delete_one(query)
        if deleted and (seen.is_fresh_for(term) or await self._reader.still_has(seen)):
            return DeleteOutcome.DELETED

        async def say_why_not(transaction: Transaction) -> DeleteOutcome:
            header = await transaction.open(queue)
            found = await _existing(transaction, header, [message_id])
            if not found:
                return DeleteOutcome.MISSING
            outcome = await _may_delete(transaction, header, found[0], claim_id)
            if outcome is DeleteOutcome.DELETED:
                await transaction.delete(header.key, [found[0]["_id"]])
            return outcome

        return await self._writer.run(queue, say_why_not, now=now)

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
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

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        async def work(transaction: Transaction) -> list[Message]:
            header = await transaction.open(queue)
            if not header.exists or limit <= 0:
                transaction.found_nothing()
                return []
            await make_due_ready(transaction, header)
            taken = await candidates(transaction, header, limit)
            if taken:
                await transaction.delete(header.key, [one["_id"] for one in taken])
            else:
                transaction.found_nothing()
            return [decode(one, header.moment) for one in taken]

        return await self._writer.run(queue, work, now=now)

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open(queue)
            if not header.exists:
                return
            back = [
                encode(message, header.key, header.generation, waits=False)
                for message in popped
                if message.position > header.base and message.expires_at > header.moment
            ]
            keys = [document["_id"] for document in back]
            there = await transaction.find({"_id": {"$in": keys}, "q": header.key}) if keys else []
            known = {document["_id"] for document in there}
            back = [document for document in back if document["_id"] not in known]
            if back:
                await transaction.insert(back)

        await self._writer.run(queue, work, now=now)

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        async def find(view: View) -> Moment | None:
            query = {
                "g": view.header.generation,
                "w": True,
                "v": {"$gt": view.now},
                "$expr": {"$lt": ["$v", "$e"]},
            }
            found = await view.find(query, sort="v", limit=1)
            return Moment(found[0]["v"]) if found else None

        return await self._reader.look(queue, now, find, None)


def _message(header: Header, new: NewMessage, salt: bytes, poster: bytes) -> Message:
    """A new message at the tail."""
    position = header.take_position()
    return Message(
        id=message_id(position, salt),
        position=position,
        body=new.body,
        ttl=new.ttl,
        created_at=header.moment,
        expires_at=moment_after(header.moment, new.ttl),
        available_at=moment_after(header.moment, new.delay),
        poster=poster,
        attributes=new.attributes,
    )


def _documents(header: Header, posted: Sequence[Message]) -> list[Document]:
    """New messages, and, where somebody listens, their announcements."""
    documents = []
    for message in posted:
        waits = message.available_at > header.moment
        if waits:
            header.expect(message.available_at)
        documents.append(encode(message, header.key, header.generation, waits=waits))
    if header.log is not None:
        log = header.log.generation
        documents += [announcement(message, header.key, log) for message in posted]
    return documents


async def _earlier_post(
    transaction: Transaction, header: Header, idempotency: Idempotency
) -> list[MessageId] | None:
    key = post_key(header.life, idempotency.key)
    found = await transaction.find({"_id": key, "q": header.key, "e": {"$gt": header.moment}})
    if not found:
        return None
    if found[0]["f"] != idempotency.fingerprint:
        raise Conflict(
            "This Idempotency-Key was used within the last 10 minutes to post something else."
        )
    return [MessageId(one) for one in found[0]["ids"]]


def _remember(
    header: Header, idempotency: Idempotency, ids: list[MessageId]
) -> ReplaceOne[Document]:
    key = post_key(header.life, idempotency.key)
    document = {
        "_id": key,
        "q": header.key,
        "y": idempotency.key,
        "f": idempotency.fingerprint,
        "ids": ids,
        "e": moment_after(header.moment, IDEMPOTENCY_TTL),
    }
    return ReplaceOne({"_id": key, "q": header.key}, document, upsert=True)


async def _delete_these(
    transaction: Transaction, header: Header, ids: Sequence[str], claim_ids: Sequence[str] | None
) -> bool:
    """Those that exist; none, and False, if one of them is in no claim that is named."""
    keys = _keys(header, ids)
    if not keys:
        return True
    alive: Document = {"e": {"$gt": header.moment}}
    held: Document = {}
    if claim_ids is not None:
        named = [parse_claim_id(one) for one in claim_ids]
        held = {"v": {"$gt": header.moment}, "k": {"$in": [one for one in named if one]}}
    deleted = await transaction.delete(header.key, keys, alive | held)
    if held and deleted < len(keys):
        others = {"_id": {"$in": keys}, "q": header.key} | alive
        if await transaction.find(others, limit=1):
            transaction.undo()
            return False
    return True


def _shown(now: Moment, *, claimed: bool, delayed: bool) -> list[Document]:
    kinds: list[Document] = [{"v": {"$lte": now}}]
    if claimed:
        kinds.append({"k": {"$exists": True}})
    if delayed:
        kinds.append({"k": {"$exists": False}})
    return kinds


def _keys(header: Header, ids: Sequence[str]) -> list[bytes]:
    keys = (message_key(header.generation, one) for one in dict.fromkeys(ids))
    return [key for key in keys if key is not None]


async def _existing(transaction: Transaction, header: Header, ids: Sequence[str]) -> list[Document]:
    keys = _keys(header, ids) if header.exists else []
    if not keys:
        return []
    query = {"_id": {"$in": keys}, "q": header.key, "e": {"$gt": header.moment}}
    return await transaction.find(query)


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
