"""Carrying queues out of and into the database.

The fence is a column of the queue's row, which every operation reads anyway. It is set and taken
away under the lock that excludes everybody, so when it stands, nobody is at work behind it, and
whoever gets a lock later sees it: on PostgreSQL also who gets ``FOR KEY SHARE`` by a statement
that began before, since what is changed under ``FOR UPDATE`` counts as a change of the key.
Every step is one short transaction.
"""

from collections.abc import Sequence
from functools import partial

from msgspec import structs
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Conflict, QueueMissing
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position, next_position, parse_message_id
from nuska.interfaces.pooling import LATER, NOT_FENCED, Lease, Outline, RememberedPost
from nuska.stores.sql import locking
from nuska.stores.sql.announcing import (
    SqlAnnouncements,
    close_log,
    columns_of_announcement,
    open_log,
)
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.loading import (
    ROWS_AT_ONCE,
    columns_of_lease,
    columns_of_post,
    ids_of_post,
    pieces,
    put,
    put_messages,
    standing,
)
from nuska.stores.sql.moving import remove
from nuska.stores.sql.rows import MESSAGE, QueueRow, encode, messages_of, queue_of
from nuska.stores.sql.tables import announcements, arrivals, claims, messages, posts, queues


class SqlTransfers:
    """``TransferStore`` on one database."""

    def __init__(self, database: Database, logs: SqlAnnouncements) -> None:
        self._database = database
        self._logs = logs

    async def outline(self, queue: QueueRef) -> Outline | None:
        project, name = locking.of(queue)
        wanted = select(queues).where(queues.c.project == project, queues.c.name == name)

        async def work(connection: AsyncConnection) -> Outline | None:
            row = (await connection.execute(wanted)).one_or_none()
            if row is None:
                return None
            arrived = select(arrivals.c.source, arrivals.c.position).where(
                arrivals.c.queue == row.id
            )
            return Outline(
                metadata=queue_of(queue, row).metadata,
                relaxed=row.relaxed,
                base=Position(row.base_position),
                last=Position(row.last_position),
                fenced=row.fenced,
                epoch=row.epoch,
                arrived={
                    one.source.decode(): Position(one.position)
                    for one in await connection.execute(arrived)
                },
                logged=row.log is not None,
            )

        return await self._database.read(work)

    async def fence(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = await self._take(connection, queue, epoch, now)
            await _set_fence(connection, row, epoch, fenced=True)

        await self._database.write(work)

    async def open(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> None:
            row = await _fenced(connection, queue, epoch, Lock.EXCLUDING)
            if row is not None:
                await _set_fence(connection, row, epoch, fenced=False)

        await self._database.write(work)

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        async def work(connection: AsyncConnection) -> list[Message]:
            row = await locking.find_any(connection, queue, Lock.NONE)
            if row is None:
                return []
            moment = self._database.moment(max(now, row.last_moment))
            wanted = select(*MESSAGE).where(
                messages.c.generation == row.generation,
                messages.c.position > after,
                messages.c.expires_at > moment,
            )
            rows = await connection.execute(wanted.order_by(messages.c.position).limit(limit))
            return messages_of(rows.all(), moment)

        return await self._database.read(work)

    async def dump_claims(self, queue: QueueRef, *, after: str, limit: int) -> list[Lease]:
        async def work(connection: AsyncConnection) -> list[Lease]:
            row = await locking.find_any(connection, queue, Lock.NONE)
            if row is None:
                return []
            wanted = select(claims).where(
                claims.c.generation == row.generation, claims.c.claim > bytes.fromhex(after)
            )
            return [
                Lease(
                    claim_id=one.claim.hex(),
                    ttl=Duration(one.ttl),
                    started_at=Moment(one.started_at),
                    expires_at=Moment(one.expires_at),
                )
                for one in await connection.execute(wanted.order_by(claims.c.claim).limit(limit))
            ]

        return await self._database.read(work)

    async def dump_posts(self, queue: QueueRef, *, after: str, limit: int) -> list[RememberedPost]:
        async def work(connection: AsyncConnection) -> list[RememberedPost]:
            row = await locking.find_any(connection, queue, Lock.NONE)
            if row is None:
                return []
            wanted = select(posts).where(posts.c.queue == row.id, posts.c.key > after.encode())
            return [
                RememberedPost(
                    key=one.key.decode(),
                    fingerprint=one.fingerprint,
                    ids=ids_of_post(one.first_position, one.salts),
                    until=Moment(one.expires_at),
                )
                for one in await connection.execute(wanted.order_by(posts.c.key).limit(limit))
            ]

        return await self._database.read(work)

    async def dump_log(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        return await self._logs.dump(queue, after=after, limit=limit, now=now)

    async def begin(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        async def work(connection: AsyncConnection) -> bool:
            row = await self._take(connection, queue, epoch, now)
            await _set_fence(connection, row, epoch, fenced=True)
            if await _forget_posts(connection, row):
                return False
            await locking.retire(connection, row.generation, row.log)
            generation = await locking.new_generation(connection)
            log = await self._log(connection, queue, outline, None)
            await _describe(connection, row, outline, generation, log)
            return True

        while not await self._database.write(work):
            pass  # the row stays, for those who wait for it; so what it has goes bit by bit

    async def amend(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> None:
            row = await _to_load(connection, queue, epoch, Lock.EXCLUDING)
            log = await self._log(connection, queue, outline, row.log)
            await _describe(connection, row, outline, row.generation, log)

        await self._database.write(work)

    async def _log(
        self, connection: AsyncConnection, queue: QueueRef, outline: Outline, log: int | None
    ) -> int | None:
        """The generation of the queue's log, as the outline wants it, where it has been ``log``."""
        if not outline.logged:
            await close_log(connection, queue)
            if log is not None:
                await locking.retire(connection, log)
            return None
        if log is not None:
            return log
        generation = await locking.new_generation(connection)
        await open_log(connection, queue, generation, outline.last)
        return generation

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
        for start in range(0, max(len(claims), len(posts)), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            await self._load_terms(queue, claims[part], posts[part], epoch)
        for piece in pieces(messages):
            await self._load_messages(queue, piece, epoch, now)
        if log:
            for piece in pieces(log):
                await self._load_log(queue, piece, epoch)

    async def _load_terms(
        self,
        queue: QueueRef,
        leases: Sequence[Lease],
        remembered: Sequence[RememberedPost],
        epoch: int,
    ) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = await _to_load(connection, queue, epoch)
            await put(connection, claims, [columns_of_lease(row.generation, one) for one in leases])
            await put(connection, posts, [columns_of_post(row.id, one) for one in remembered])

        await self._database.write(work)

    async def _load_messages(
        self, queue: QueueRef, piece: Sequence[Message], epoch: int, now: Moment
    ) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = await _to_load(connection, queue, epoch)
            moment = self._database.moment(max(now, row.last_moment))
            await put_messages(connection, row.generation, piece, moment)

        await self._database.write(work)

    async def _load_log(self, queue: QueueRef, piece: Sequence[Message], epoch: int) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = await _to_load(connection, queue, epoch)
            if row.log is not None:
                rows = [columns_of_announcement(row.log, message) for message in piece]
                await put(connection, announcements, rows)

        await self._database.write(work)

    async def unload(self, queue: QueueRef, ids: Sequence[str], *, epoch: int, now: Moment) -> None:
        self._database.moment(now)
        keys = [key for key in map(parse_message_id, ids) if key is not None]

        async def work(connection: AsyncConnection, some: Sequence[tuple[Position, bytes]]) -> None:
            row = await _to_load(connection, queue, epoch)
            places = await standing(connection, row.generation, set(some))
            await remove(connection, row.generation, places)

        for start in range(0, max(len(keys), 1), ROWS_AT_ONCE):
            some = keys[start : start + ROWS_AT_ONCE]
            await self._database.write(partial(work, some=some))

    async def forget(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> None:
            row = await _fenced(connection, queue, epoch, Lock.EXCLUDING)
            if row is not None:
                await locking.delete(connection, queue, row)
                await close_log(connection, queue)

        await self._database.write(work)

    async def arrive(
        self, queue: QueueRef, letters: Sequence[Message], *, source: str, now: Moment
    ) -> None:
        for piece in pieces(letters):
            await self._arrive(queue, piece, source, now)

    async def _arrive(
        self, queue: QueueRef, piece: Sequence[Message], source: str, now: Moment
    ) -> None:
        async def work(connection: AsyncConnection) -> None:
            row = await locking.find(connection, queue, Lock.COUNTING)
            if row is None:
                raise QueueMissing
            last = await _last_arrival(connection, row, source)
            moment = self._database.moment(max(now, row.last_moment))
            position, arriving = Position(row.last_position), []
            for letter in piece:
                if letter.position > last:
                    position = next_position(position, moment)
                    arriving.append(structs.replace(letter, position=position, available_at=moment))
            if not arriving:
                return
            await put_messages(connection, row.generation, arriving, moment)
            arrival = {
                "queue": row.id,
                "source": source.encode(),
                "position": piece[-1].position,
            }
            await put(connection, arrivals, [arrival])
            await locking.keep_counter(connection, row, position, moment)

        await self._database.write(work)

    async def _take(
        self, connection: AsyncConnection, queue: QueueRef, epoch: int, now: Moment
    ) -> QueueRow:
        """The queue, or one made of its name, for whose epoch is the latest."""
        for _ in range(locking.CREATIONS_AT_MOST):
            row = await locking.find_any(connection, queue, Lock.EXCLUDING)
            if row is not None:
                if row.epoch > epoch or (row.epoch == epoch and not row.fenced):
                    raise Conflict(LATER)
                return row
            row = await locking.create(
                connection, self._database, queue, {}, relaxed=False, now=now
            )
            if row is not None:
                return row
        raise AssertionError("a queue is neither there nor can it be created")


async def _set_fence(
    connection: AsyncConnection, row: QueueRow, epoch: int, *, fenced: bool
) -> None:
    if (row.fenced, row.epoch) != (fenced, epoch):
        terms = {"fenced": fenced, "epoch": epoch}
        await dialect_of(connection).change_queue(connection, row.id, terms)


async def _fenced(
    connection: AsyncConnection, queue: QueueRef, epoch: int, lock: Lock
) -> QueueRow | None:
    """The queue, if it is fenced in this epoch."""
    row = await locking.find_any(connection, queue, lock)
    return row if row is not None and row.fenced and row.epoch == epoch else None


async def _to_load(
    connection: AsyncConnection, queue: QueueRef, epoch: int, lock: Lock = Lock.COUNTING
) -> QueueRow:
    row = await _fenced(connection, queue, epoch, lock)
    if row is None:
        raise Conflict(NOT_FENCED)
    return row


async def _describe(
    connection: AsyncConnection,
    row: QueueRow,
    outline: Outline,
    generation: int,
    log: int | None,
) -> None:
    """Give a queue that is locked what the outline says; no position is given twice."""
    terms = {
        "generation": generation,
        "base_position": outline.base,
        "last_position": max(row.last_position, outline.last),
        "metadata": encode(outline.metadata),
        "relaxed": outline.relaxed,
        "version": queues.c.version + 1,
        "log": log,
    }
    await dialect_of(connection).change_queue(connection, row.id, terms)
    await connection.execute(delete(arrivals).where(arrivals.c.queue == row.id))
    arrived = [
        {"queue": row.id, "source": source.encode(), "position": last}
        for source, last in outline.arrived.items()
    ]
    await put(connection, arrivals, arrived)


async def _forget_posts(connection: AsyncConnection, row: QueueRow) -> bool:
    """Forget some of a queue's posts; whether there may be more."""
    some = select(posts.c.key).where(posts.c.queue == row.id).limit(ROWS_AT_ONCE)
    keys = (await connection.execute(some)).scalars().all()
    await connection.execute(delete(posts).where(posts.c.queue == row.id, posts.c.key.in_(keys)))
    return len(keys) == ROWS_AT_ONCE


async def _last_arrival(connection: AsyncConnection, row: QueueRow, source: str) -> int:
    last = await connection.execute(
        select(arrivals.c.position).where(
            arrivals.c.queue == row.id, arrivals.c.source == source.encode()
        )
    )
    return last.scalar_one_or_none() or 0
