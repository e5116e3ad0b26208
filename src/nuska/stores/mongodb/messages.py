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
    parse_message_id,
)
from nuska.domain.queues import NOTHING_HELD, Measure
from nuska.interfaces.storage import RandomBytes
from nuska.stores.mongodb.choosing import candidates, make_due_ready
from nuska.stores.mongodb.deleting import Deleting
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.looking import Reader, View
from nuska.stores.mongodb.records import (
    Document,
    announcement,
    decode,
    encode,
    message_key,
    message_keys,
    post_key,
)
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer


class MongoMessages:
    """``MessageStore`` on MongoDB."""

    def __init__(self, writer: Writer, reader: Reader, random_bytes: RandomBytes) -> None:
        self._writer = writer
        self._reader = reader
        self._random_bytes = random_bytes
        self._deleting = Deleting(writer, reader)

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
            if idempotency is not None and not messages:
                return Added([])
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
            if not (include_claimed or include_delayed) and view.header.due > view.now:
                also["w"] = False  # nothing that waits is due: an index passes over all of it
            elif not (include_claimed and include_delayed):
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
            return Position(int(found[0]["p"])) if found else parsed[0]

        return await self._reader.look(queue, self._writer.latest, find, parsed[0])

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        async def find(view: View) -> list[Message]:
            keys = message_keys(view.header.generation, ids)
            if not keys:
                return []
            found = await view.find({"_id": {"$in": keys}, "e": {"$gt": view.now}})
            there = {document["_id"]: document for document in found}
            return [decode(there[key], view.now) for key in keys if key in there]

        return await self._reader.look(queue, now, find, [])

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        return await self._deleting.one(queue, message_id, claim_id, now)

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        return await self._deleting.many(queue, ids, claim_ids, now)

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
            return Moment(int(found[0]["v"])) if found else None

        return await self._reader.look(queue, now, find, None)

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        async def count(view: View) -> Measure:
            return await view.measured(after, limit)

        return await self._reader.look(queue, now, count, NOTHING_HELD)


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


def _shown(now: Moment, *, claimed: bool, delayed: bool) -> list[Document]:
    kinds: list[Document] = [{"v": {"$lte": now}}]
    if claimed:
        kinds.append({"k": {"$exists": True}})
    if delayed:
        kinds.append({"k": {"$exists": False}})
    return kinds
