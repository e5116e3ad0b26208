"""Carrying queues out of Redis and into it.

A fence is a field of the queue's header, looked at where every function opens a queue
(``library/state.lua``). Everything here is a call of bounded size; what takes several leaves
a fenced queue that can be begun anew.
"""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Any, TypeVar

import msgspec

from nuska.domain.errors import Conflict, QueueMissing
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position, parse_message_id
from nuska.interfaces.pooling import LATER, NOT_FENCED, Lease, Outline, RememberedPost
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.lane import Part
from nuska.stores.redis.ordered import Ordered
from nuska.stores.redis.outbox import Outbox
from nuska.stores.redis.rows import HELD, encode, held_by, ids_of_post, place, wanted
from nuska.stores.redis.walking import AT_ONCE, walk

CLAIM = Struct(">QQQ")
POST = Struct(">QQH")

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, object]).decode


class RedisTransfers:
    """``TransferStore`` on Redis."""

    def __init__(self, calls: Calls, outbox: Outbox) -> None:
        self._calls = calls
        self._outbox = outbox
        self._ordered = Ordered(calls)

    async def outline(self, queue: QueueRef) -> Outline | None:
        found = await self._header(
            queue,
            "metadata",
            "relaxed",
            "emptied",
            "position",
            "listing",
            "fence",
            "epoch",
            "logged",
        )
        metadata, relaxed, base, last, listing, fence, epoch, logged = found
        if listing is None and fence is None:
            return None
        return Outline(
            metadata=_decode(metadata),
            relaxed=relaxed == b"1",
            base=Position(int(base)),
            last=Position(int(last)),
            fenced=fence is not None,
            epoch=int(epoch or 0),
            arrived=await self._arrived(queue),
            logged=logged is not None,
        )

    async def _header(self, queue: QueueRef, *fields: str) -> Any:
        key = self._calls.names.header(queue)
        return await self._calls.command(key, "HMGET", key, *fields)

    async def _arrived(self, queue: QueueRef) -> dict[str, Position]:
        key = self._calls.names.part(queue, "arrived")
        arrived: dict[str, Position] = {}
        cursor = b"0"
        while True:
            cursor, found = await self._calls.command(key, "HSCAN", key, cursor, "COUNT", AT_ONCE)
            for source, last in zip(found[::2], found[1::2], strict=True):
                arrived[source.decode()] = Position(int(last, 16))
            if cursor == b"0":
                return arrived

    async def fence(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        answer = await self._calls.maintain("nuska_fence_queue", queue, now, epoch)
        if answer[0] == b"late":
            raise Conflict(LATER)
        await self._hide(queue, answer)
        await self._outbox.deliver(queue, now)  # what it has sent does not stay behind

    async def _hide(self, queue: QueueRef, answer: Any) -> None:
        """Take the entry that the queue had out of its project's list."""
        if answer[1]:
            await self._calls.unlist(queue, answer[1].decode())

    async def open(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        await self._calls.write("nuska_open_fence", queue, now, epoch)

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        return await walk(self._calls, "nuska_dump_messages", queue, after, limit, now)

    async def dump_claims(self, queue: QueueRef, *, after: str, limit: int) -> list[Lease]:
        start = held_by(after) or b""
        leases = []
        for claim, record in await self._rows(queue, "generation", "claims", start, limit):
            ttl, started_at, expires_at = CLAIM.unpack_from(record)
            lease = Lease(
                claim_id=claim[len(HELD) :].hex(),
                ttl=Duration(ttl),
                started_at=Moment(started_at),
                expires_at=Moment(expires_at),
            )
            leases.append(lease)
        return leases

    async def dump_posts(self, queue: QueueRef, *, after: str, limit: int) -> list[RememberedPost]:
        start = f"={after}".encode() if after else b""
        rows = await self._rows(queue, "life", "posts", start, limit)
        return [_post(key, record) for key, record in rows]

    async def dump_log(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        return await walk(self._calls, "nuska_dump_log", queue, after, limit, now)

    async def _rows(
        self, queue: QueueRef, of: str, part: str, after: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        """Keys above ``after`` and what they stand for, of the present generation or life."""
        [number] = await self._header(queue, of)
        if number is None:
            return []
        rows = self._calls.names.part(queue, f"{of[0]}{number.decode()}:{part}")
        found: list[tuple[bytes, bytes]] = []
        while not found:  # what has gone since it was looked up is no end
            keys = await self._ordered.page(f"{rows}_ending", after=after, limit=limit)
            for some in _pieces(keys):
                values = await self._calls.command(rows, "HMGET", rows, *some)
                pairs = zip(some, values, strict=True)
                found += [(key, value) for key, value in pairs if value is not None]
            if not keys:
                break
            after = keys[-1]
        return found

    async def begin(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        answer = await self._calls.write(
            "nuska_begin_queue",
            queue,
            now,
            epoch,
            _encode(outline.metadata),
            int(outline.relaxed),
            outline.base,
            outline.last,
            int(outline.logged),
        )
        if answer[0] == b"late":
            raise Conflict(LATER)
        await self._hide(queue, answer)
        await self._load("nuska_load_arrived", queue, _arrived_parts(outline), epoch, now)

    async def amend(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        terms: list[Part] = [
            _encode(outline.metadata),
            int(outline.relaxed),
            outline.base,
            outline.last,
            int(outline.logged),
        ]
        await self._load("nuska_amend_queue", queue, [terms], epoch, now)
        await self._load("nuska_load_arrived", queue, _arrived_parts(outline), epoch, now)

    async def load(
        self,
        queue: QueueRef,
        *,
        messages: Sequence[Message] = (),
        claims: Sequence[Lease] = (),
        posts: Sequence[RememberedPost] = (),
        log: Sequence[Message] = (),
        epoch: int,
        now: Moment,
    ) -> None:
        terms = [_claim_parts(one) for one in claims]
        await self._load("nuska_load_claims", queue, terms, epoch, now)
        kept = [_post_parts(one) for one in posts]
        await self._load("nuska_load_posts", queue, kept, epoch, now)
        announced = [encode(message) for message in log]
        await self._load("nuska_load_log", queue, announced, epoch, now)
        if messages or not (claims or posts or log):
            parts = [encode(message) for message in messages]
            await self._load("nuska_load_messages", queue, parts or [[]], epoch, now)

    async def _load(
        self,
        function: str,
        queue: QueueRef,
        parts: Sequence[Sequence[Part]],
        epoch: int,
        now: Moment,
    ) -> None:
        for some in _pieces(parts):
            flat = [part for one in some for part in one]
            answer = await self._calls.maintain(function, queue, now, epoch, *flat)
            if answer[0] == b"refused":
                raise Conflict(NOT_FENCED)

    async def unload(self, queue: QueueRef, ids: Sequence[str], *, epoch: int, now: Moment) -> None:
        sought = [[one] for one in map(wanted, ids) if one is not None]
        await self._load("nuska_unload_messages", queue, sought or [[]], epoch, now)

    async def forget(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        answer = await self._calls.write("nuska_forget_queue", queue, now, epoch)
        if answer[0] == b"forgotten":
            await self._hide(queue, answer)

    async def arrive(
        self, queue: QueueRef, letters: Sequence[Message], *, source: str, now: Moment
    ) -> None:
        for some in _pieces([encode(letter) for letter in letters] or [[]]):
            parts = [part for letter in some for part in letter]
            answer = await self._calls.write(
                "nuska_arrive", queue, now, source, *parts, create=False
            )
            if not answer[2]:
                raise QueueMissing


def _arrived_parts(outline: Outline) -> list[list[Part]]:
    return [[source, place(last)] for source, last in outline.arrived.items()]


def _pieces(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), AT_ONCE):
        yield things[start : start + AT_ONCE]


def _claim_parts(lease: Lease) -> list[Part]:
    claim = held_by(lease.claim_id)
    assert claim is not None, "stored claims have ids of ours"
    terms = CLAIM.pack(lease.ttl, lease.started_at, lease.expires_at)
    return [claim, terms, lease.expires_at]


def _post(key: bytes, record: bytes) -> RememberedPost:
    until, first, size = POST.unpack_from(record)
    salts = record[POST.size + size :]
    return RememberedPost(
        key=key[1:].decode(),
        fingerprint=record[POST.size : POST.size + size],
        ids=ids_of_post(first, salts),
        until=Moment(until),
    )


def _post_parts(post: RememberedPost) -> list[Part]:
    keys = [key for key in map(parse_message_id, post.ids) if key is not None]
    first = keys[0][0] if keys else 0
    record = POST.pack(post.until, first, len(post.fingerprint)) + post.fingerprint
    return ["=" + post.key, record + b"".join(salt for _, salt in keys), post.until]
