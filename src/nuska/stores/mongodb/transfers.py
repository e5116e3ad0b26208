"""Carrying queues out of MongoDB and into it.

A fence is a field of the queue's document, which every transaction changes first and every
every view reads. So a fence either waits for a write that is under way or has it refused, and
whatever comes later sees it. A delete opens no queue: it looks at the document before, and once
more afterwards unless it was quick; a fence is finished when the quick ones have ended. What is
loaded goes in pieces, a transaction each, which all see to it that the fence is still theirs.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from nuska.domain.errors import Conflict, QueueMissing
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import (
    BEFORE_ALL,
    CLAIM_ID_BYTES,
    Position,
)
from nuska.interfaces.pooling import LATER, NOT_FENCED, Lease, Outline, RememberedPost
from nuska.stores.mongodb.carried import (
    above,
    arrived,
    bytes_of,
    in_place,
    lease_document,
    lease_of,
    log_document,
    message_document,
    pieces,
    post_document,
    post_of,
)
from nuska.stores.mongodb.headers import Header
from nuska.stores.mongodb.looking import RELIED_ON_FOR, Reader, View
from nuska.stores.mongodb.records import (
    POST_KEY_BYTES,
    Document,
    message_keys,
)
from nuska.stores.mongodb.transaction import Transaction
from nuska.stores.mongodb.writer import Writer

DELETES_END_WITHIN = 1.5 * RELIED_ON_FOR / 1000
"""Seconds in which deletes that saw no fence, and will not look again, have ended; with half as
much again for clocks that do not run alike."""

T = TypeVar("T")

_decode = msgspec.json.Decoder(dict[str, object]).decode


class MongoTransfers:
    """``TransferStore`` on MongoDB."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def outline(self, queue: QueueRef) -> Outline | None:
        async def find(view: View) -> Outline | None:
            header = view.header
            return Outline(
                metadata=_decode(header.metadata),
                relaxed=header.relaxed,
                base=Position(header.base),
                last=Position(header.last),
                fenced=header.fenced,
                epoch=header.epoch,
                arrived=header.arrived,
                logged=header.log is not None,
            )

        return await self._reader.look(queue, self._writer.latest, find, None, carries=True)

    async def fence(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        async def work(transaction: Transaction) -> bool:
            header = await transaction.open_any(queue)
            _refuse_late(header, epoch)
            existed = header.exists
            if not existed:
                header.create({}, relaxed=False)
            header.fence(True, epoch)
            return existed

        if await self._writer.run(queue, work, now=now):
            await asyncio.sleep(DELETES_END_WITHIN)

    async def open(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open_any(queue)
            if _is_fenced(header, epoch):
                header.fence(False, epoch)

        await self._writer.run(queue, work, now=now)

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        async def find(view: View) -> list[Message]:
            return await view.by_position(view.header.generation, after, limit)

        return await self._reader.look(queue, now, find, [], carries=True)

    async def dump_claims(self, queue: QueueRef, *, after: str, limit: int) -> list[Lease]:
        async def find(view: View) -> list[Lease]:
            start = bytes.fromhex(after)
            found = await view.find(
                {"_id": above(view.header.generation, start, CLAIM_ID_BYTES)},
                sort="_id",
                limit=limit,
            )
            return [lease_of(view.header, one) for one in found]

        return await self._reader.look(queue, self._writer.latest, find, [], carries=True)

    async def dump_posts(self, queue: QueueRef, *, after: str, limit: int) -> list[RememberedPost]:
        async def find(view: View) -> list[RememberedPost]:
            life = above(view.header.life, b"", POST_KEY_BYTES)
            found = await view.find({"_id": life, "y": {"$gt": after}}, sort="y", limit=limit)
            return [post_of(one) for one in found]

        return await self._reader.look(queue, self._writer.latest, find, [], carries=True)

    async def dump_log(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        async def find(view: View) -> list[Message]:
            return await view.announced(after, limit)

        return await self._reader.look(queue, now, find, [], carries=True)

    async def begin(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open_any(queue)
            _refuse_late(header, epoch)
            await transaction.leave_behind(header, header.delete() + header.close_log())
            header.create(outline.metadata, relaxed=outline.relaxed)
            header.place(base=outline.base, last=outline.last, arrived=outline.arrived)
            header.fence(True, epoch)
            if outline.logged:
                header.open_log()

        await self._writer.run(queue, work, now=now)

    async def amend(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await _to_load(transaction, queue, epoch)
            header.describe(outline.metadata, relaxed=outline.relaxed)
            header.place(base=outline.base, last=outline.last, arrived=outline.arrived)
            if not outline.logged:
                await transaction.leave_behind(header, header.close_log())
            elif header.log is None:
                header.open_log()

        await self._writer.run(queue, work, now=now)

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
        if not (messages or claims or posts or log):
            await self._put(queue, [], message_document, epoch, now)  # refused, or nothing
        for leases in pieces(claims) if claims else ():
            await self._put(queue, leases, lease_document, epoch, now)
        for kept in pieces(posts) if posts else ():
            await self._put(queue, kept, post_document, epoch, now)
        for some in pieces(messages, bytes_of) if messages else ():
            await self._put(queue, some, message_document, epoch, now)
        for announced in pieces(log, bytes_of) if log else ():
            await self._put(queue, announced, log_document, epoch, now)

    async def _put(
        self,
        queue: QueueRef,
        things: Sequence[T],
        document_of: Callable[[Header, T], Document | None],
        epoch: int,
        now: Moment,
    ) -> None:
        """Store things in place of those of the same id, in one step."""

        async def work(transaction: Transaction) -> None:
            header = await _to_load(transaction, queue, epoch)
            documents = [document_of(header, one) for one in things]
            transaction.write(in_place(header, [one for one in documents if one is not None]))

        await self._writer.run(queue, work, now=now)

    async def unload(self, queue: QueueRef, ids: Sequence[str], *, epoch: int, now: Moment) -> None:
        for some in pieces(ids):
            await self._unload(queue, some, epoch, now)

    async def _unload(self, queue: QueueRef, ids: Sequence[str], epoch: int, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await _to_load(transaction, queue, epoch)
            await transaction.delete(header.key, message_keys(header.generation, ids))

        await self._writer.run(queue, work, now=now)

    async def forget(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open_any(queue)
            if _is_fenced(header, epoch):
                await transaction.leave_behind(header, header.delete() + header.close_log())

        await self._writer.run(queue, work, now=now)

    async def arrive(
        self, queue: QueueRef, letters: Sequence[Message], *, source: str, now: Moment
    ) -> None:
        for some in pieces(letters, bytes_of):
            await self._arrive(queue, some, source, now)

    async def _arrive(
        self, queue: QueueRef, letters: Sequence[Message], source: str, now: Moment
    ) -> None:
        async def work(transaction: Transaction) -> None:
            header = await transaction.open(queue)
            if not header.exists:
                raise QueueMissing
            last = header.arrived.get(source, BEFORE_ALL)
            new = [letter for letter in letters if letter.position > last]
            if new:
                documents = [arrived(header, letter) for letter in new]
                header.note_arrival(source, new[-1].position)
                transaction.write(in_place(header, documents))

        await self._writer.run(queue, work, positions=len(letters), now=now)


def _refuse_late(header: Header, epoch: int) -> None:
    if header.exists and (header.epoch > epoch or (header.epoch == epoch and not header.fenced)):
        raise Conflict(LATER)


def _is_fenced(header: Header, epoch: int) -> bool:
    return header.exists and header.fenced and header.epoch == epoch


async def _to_load(transaction: Transaction, queue: QueueRef, epoch: int) -> Header:
    header = await transaction.open_any(queue)
    if not _is_fenced(header, epoch):
        raise Conflict(NOT_FENCED)
    return header
