"""Claims: leases on messages, and the dead-lettering that happens inside them (D8)."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from pymongo import DeleteMany, InsertOne, ReplaceOne, UpdateMany

from nuska.domain.claims import (
    OVER_CLAIM_COUNT,
    Claim,
    Claimed,
    DeadLetterRule,
    end_after_claim,
)
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import DeadLetter, Message, QueueRef
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.positions import ClaimId, parse_claim_id
from nuska.stores.mongodb.choosing import candidates, make_due_ready
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.looking import Reader, View
from nuska.stores.mongodb.records import Document, claim_key, decode, encode
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer


class MongoClaims:
    """``ClaimStore`` on MongoDB."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def create(
        self,
        queue: QueueRef,
        *,
        claim_id: str,
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead_letters: DeadLetterRule | None = None,
        now: Moment,
    ) -> Claimed:
        claim = parse_claim_id(claim_id)
        if claim is None:
            raise ValueError("a claim id is 24 hexadecimal digits")

        async def work(transaction: Transaction) -> Claimed:
            header = await transaction.open(queue)
            if not header.exists or limit <= 0:
                transaction.found_nothing()
                return Claimed([])
            await make_due_ready(transaction, header)
            moved = 0
            if dead_letters is None:
                chosen = await candidates(transaction, header, limit)
            else:
                chosen, moved = await _choose(transaction, header, limit, dead_letters)
            if chosen:
                end = after(header.moment, ttl)
                marks = {"$set": {"w": True, "k": claim, "v": end}, "$inc": {"n": 1}}
                header.expect(end)
                transaction.write(
                    [
                        *_hand_out(header, chosen, marks, ttl, grace),
                        _lease(header, claim, ttl),
                    ]
                )
            else:
                transaction.found_nothing()
            messages = [decode(one, header.moment) for one in chosen]
            return Claimed(
                [_handed_out(one, claim_id, header.moment, ttl, grace) for one in messages], moved
            )

        return await self._writer.run(queue, work, now=now)

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        claim = parse_claim_id(claim_id)
        if claim is None:
            return None

        async def find(view: View) -> Claim | None:
            alive = {"e": {"$gt": view.now}}
            leases = await view.find({"_id": claim_key(view.header.generation, claim)} | alive)
            if not leases:
                return None
            [lease] = leases
            held = await view.find(_held(view.header, claim, view.now), sort="p")
            return Claim(
                id=ClaimId(claim_id),
                ttl=Duration(int(lease["t"])),
                started_at=Moment(int(lease["s"])),
                expires_at=Moment(int(lease["e"])),
                messages=[decode(one, view.now) for one in held],
            )

        return await self._reader.look(queue, now, find, None)

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        claim = parse_claim_id(claim_id)
        if claim is None:
            return False

        async def work(transaction: Transaction) -> bool:
            header = await transaction.open(queue)
            if not await _is_live(transaction, header, claim):
                return False
            held = await transaction.find(_held(header, claim, header.moment))
            marks = {"$set": {"v": after(header.moment, ttl)}}
            writes: list[Any] = [_lease(header, claim, ttl)]
            if held:
                header.expect(marks["$set"]["v"])
                writes += _hand_out(header, held, marks, ttl, grace)
            transaction.write(writes)
            return True

        return await self._writer.run(queue, work, now=now)

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        claim = parse_claim_id(claim_id)
        if claim is None:
            return 0

        async def work(transaction: Transaction) -> int:
            header = await transaction.open(queue)
            if not await _is_live(transaction, header, claim):
                return 0
            held = await transaction.find(_held(header, claim, header.moment))
            freed: Document = {"$set": {"w": False, "v": header.moment}, "$unset": {"k": ""}}
            if uncount:
                freed["$inc"] = {"n": -1}
            if held:
                keys = [one["_id"] for one in held]
                transaction.write([UpdateMany({"_id": {"$in": keys}, "q": header.key}, freed)])
            await transaction.delete(header.key, [claim_key(header.generation, claim)])
            return len(held)

        return await self._writer.run(queue, work, now=now)

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        async def find(view: View) -> int:
            alive = {"v": {"$gt": view.now}, "e": {"$gt": view.now}}
            held = {"q": view.header.key, "g": view.header.generation, "k": {"$exists": True}}
            found = await view.aggregate(
                [{"$match": held | alive}, {"$group": {"_id": "$k"}}, {"$count": "claims"}]
            )
            return int(found[0]["claims"]) if found else 0

        return await self._reader.look(queue, now, find, 0)


def _held(header: Header, claim: bytes, now: Moment) -> Document:
    return {
        "q": header.key,
        "g": header.generation,
        "k": claim,
        "v": {"$gt": now},
        "e": {"$gt": now},
    }


async def _is_live(transaction: Transaction, header: Header, claim: bytes) -> bool:
    if not header.exists:
        return False
    key = claim_key(header.generation, claim)
    live = {"_id": key, "q": header.key, "e": {"$gt": header.moment}}
    return bool(await transaction.find(live))


def _lease(header: Header, claim: bytes, ttl: Duration) -> ReplaceOne[Document]:
    key = claim_key(header.generation, claim)
    lease = {
        "_id": key,
        "q": header.key,
        "t": ttl,
        "s": header.moment,
        "e": after(header.moment, ttl),
    }
    return ReplaceOne({"_id": key, "q": header.key}, lease, upsert=True)


def _hand_out(
    header: Header, chosen: Sequence[Document], marks: Document, ttl: Duration, grace: Duration
) -> list[UpdateMany]:
    """Mark messages, and give those that would end before the claim's grace a later end (I9)."""
    query = {"_id": {"$in": [one["_id"] for one in chosen]}, "q": header.key}
    end = header.moment + ttl + grace
    prolonged = {"$set": {"e": end, "t": ttl + grace}}
    return [UpdateMany(query, marks), UpdateMany(query | {"e": {"$lt": end}}, prolonged)]


def _handed_out(
    message: Message, claim_id: str, now: Moment, ttl: Duration, grace: Duration
) -> Message:
    """What ``_hand_out`` makes of a message, as its new holder sees it."""
    end = end_after_claim(message.expires_at, now, ttl, grace)
    return replace(
        message,
        claim_id=claim_id,
        claim_count=message.claim_count + 1,
        available_at=after(now, ttl),
        expires_at=end,
        ttl=message.ttl if end == message.expires_at else Duration(ttl + grace),
    )


async def _choose(
    transaction: Transaction, header: Header, limit: int, rule: DeadLetterRule
) -> tuple[list[Document], int]:
    """Up to ``limit`` candidates to claim; those handed out too often leave instead.

    Looks no further than the tail as it was, so that a queue that is its own dead-letter
    queue ends.
    """
    chosen: list[Document] = []
    dead: list[Document] = []
    tail, position = header.tail, header.base
    while len(chosen) < limit and len(dead) < DEAD_LETTERS_PER_CLAIM:
        wanted = limit - len(chosen)
        found = await candidates(transaction, header, wanted, after=position, last=tail)
        for candidate in found:
            if candidate["n"] < rule.max_claims:
                chosen.append(candidate)
            elif len(dead) < DEAD_LETTERS_PER_CLAIM:
                dead.append(candidate)
            else:
                break
            position = candidate["p"]
        if len(found) < wanted:
            break
    if dead:
        await _bury(transaction, header, dead, rule)
    return chosen, len(dead)


async def _bury(
    transaction: Transaction, source: Header, dead: Sequence[Document], rule: DeadLetterRule
) -> None:
    """Move messages to the tail of the dead-letter queue, in this very transaction."""
    target = await transaction.open_or_create(rule.queue)
    target.come_after(source.moment)
    gone = {"_id": {"$in": [one["_id"] for one in dead]}, "q": source.key}
    letters = [_letter(source, target, decode(one, source.moment), rule) for one in dead]
    transaction.write([DeleteMany(gone), *(InsertOne(letter) for letter in letters)])


def _letter(source: Header, target: Header, message: Message, rule: DeadLetterRule) -> Document:
    now = Moment(max(source.moment, target.moment))
    moved = replace(
        message,
        position=target.take_position(),
        ttl=message.ttl if rule.ttl is None else rule.ttl,
        expires_at=message.expires_at if rule.ttl is None else after(now, rule.ttl),
        available_at=now,
        dead=DeadLetter(
            origin=source.ref.name,
            reason=OVER_CLAIM_COUNT,
            claim_count=message.claim_count,
            at=now,
        ),
    )
    return encode(moved, target.key, target.generation, waits=False)
