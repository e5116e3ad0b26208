"""Messages: post, read, delete, pop."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import QueueMissing
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
from nuska.domain.positions import Position, parse_claim_id, parse_message_id
from nuska.domain.queues import NOTHING_HELD, Measure
from nuska.interfaces.storage import RandomBytes
from nuska.stores.sql import locking
from nuska.stores.sql.at_once import AtOnce, Removal
from nuska.stores.sql.choosing import IN_LINE, candidates
from nuska.stores.sql.database import Database
from nuska.stores.sql.deleting import delete_many, delete_one
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.measuring import stretch
from nuska.stores.sql.moving import IN_ONE_STATEMENT, MessageKey, places_moved_to, remember, remove
from nuska.stores.sql.posting import Post, Poster
from nuska.stores.sql.rows import MESSAGE, MessageRow, QueueRow, encode, message_of, messages_of
from nuska.stores.sql.tables import IS_READY, READY, WAITS, messages, unindexed
from nuska.stores.sql.taking import Takers


class SqlMessages:
    """``MessageStore`` on one database."""

    def __init__(
        self, database: Database, at_once: AtOnce, takers: Takers, random_bytes: RandomBytes
    ) -> None:
        self._database = database
        self._at_once = at_once
        self._takers = takers
        self._poster = Poster(database, at_once, random_bytes)

    async def close(self) -> None:
        await self._poster.close()

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
        if idempotency is not None and not messages:
            try:
                return await self._poster.add(queue, Post((), poster, idempotency, False, now))
            except QueueMissing:
                return Added([])
        post = Post(messages, poster, idempotency, create, now)
        return await self._poster.add(queue, post)

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
        async def work(connection: AsyncConnection) -> Page:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return Page([], after)
            moment = self._database.moment(max(now, row.last_moment))
            wanted = _live(row.generation, moment, hide_poster)
            if include_claimed or include_delayed:
                listing = _by_position(
                    wanted, after, moment, limit, claimed=include_claimed, delayed=include_delayed
                )
            else:
                listing = _ready_and_due(wanted, after, moment, limit)
            rows = (await connection.execute(listing)).all()
            found = messages_of(rows, moment)
            return Page(found, found[-1].position if found else after)

        return await self._database.read(work)

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        parsed = parse_message_id(message_id)
        if parsed is None:
            return None

        async def work(connection: AsyncConnection) -> Position:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return parsed[0]
            elsewhere = await places_moved_to(connection, row.generation, [parsed])
            return Position(elsewhere.get(parsed, parsed[0]))

        return await self._database.read(work)

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        wanted = _parsed(ids)
        if not wanted:
            return []

        async def work(connection: AsyncConnection) -> list[Message]:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return []
            moment = self._database.moment(max(now, row.last_moment))
            return await _find(connection, row.generation, wanted, moment)

        return await self._database.read(work)

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        parsed = parse_message_id(message_id)
        if parsed is None:
            return DeleteOutcome.MISSING
        claim = None if claim_id is None else parse_claim_id(claim_id)
        removal = Removal(parsed, claim, now)
        named_wrongly = claim is None and claim_id is not None
        if not named_wrongly and await self._at_once.delete(queue, removal):
            return DeleteOutcome.DELETED

        async def work(connection: AsyncConnection) -> DeleteOutcome:
            found = await locking.find_at(connection, self._database, queue, now)
            if found is None:
                return DeleteOutcome.MISSING
            row, moment = found
            return await delete_one(connection, row.generation, parsed, claim_id, moment)

        return await self._database.write(work)

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        wanted = _parsed(ids)
        if not wanted:
            return True
        named: set[bytes] | None = None
        if claim_ids is not None:
            named = {claim for one in claim_ids if (claim := parse_claim_id(one)) is not None}
        if await self._at_once.delete_many(queue, wanted, named, now):
            return True

        async def work(connection: AsyncConnection) -> bool:
            found = await locking.find_at(connection, self._database, queue, now)
            if found is None:
                return True
            row, moment = found
            return await delete_many(connection, row.generation, wanted, named, moment)

        return await self._database.write(work)

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        async def take(connection: AsyncConnection, row: QueueRow, moment: Moment) -> list[Message]:
            taken = await candidates(connection, row.generation, moment, limit)
            places = [(one.position, one.posted_position, one.salt) for one in taken]
            await remove(connection, row.generation, places)
            return messages_of(taken, moment)

        return await self._takers.do(queue, take, now) or []

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        async def work(connection: AsyncConnection) -> None:
            found = await locking.find_at(connection, self._database, queue, now)
            if found is None:
                return
            row, moment = found
            for message in popped:
                if row.base_position < message.position and message.expires_at > moment:
                    await _restore(connection, row.generation, message)

        await self._database.write(work)

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        async def work(connection: AsyncConnection) -> Moment | None:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return None
            moment = self._database.moment(max(now, row.last_moment))
            due = await connection.execute(
                select(messages.c.available_at)
                .where(
                    messages.c.generation == row.generation,
                    WAITS,
                    messages.c.available_at > moment,
                    messages.c.expires_at > messages.c.available_at,
                )
                .order_by(messages.c.available_at)
                .limit(1)
            )
            end = due.scalar_one_or_none()
            return None if end is None else Moment(end)

        return await self._database.read(work)

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        async def work(connection: AsyncConnection) -> Measure:
            row = await locking.find(connection, queue, Lock.NONE)
            if row is None:
                return NOTHING_HELD
            moment = self._database.moment(max(now, row.last_moment))
            return await stretch(connection, row.generation, after, limit, moment)

        return await self._database.read(work)


def _parsed(ids: Sequence[str]) -> list[MessageKey]:
    """Those of ``ids`` that can be ours, each once."""
    return [parsed for one in dict.fromkeys(ids) if (parsed := parse_message_id(one))]


def _live(generation: int, now: Moment, hide: bytes | None) -> Select[*tuple[Any, ...]]:
    wanted = select(*MESSAGE).where(
        messages.c.generation == generation,
        unindexed(messages.c.expires_at) > now,
    )
    return wanted if hide is None else wanted.where(messages.c.poster != hide)


def _by_position(
    wanted: Select[*tuple[Any, ...]],
    after: Position,
    now: Moment,
    limit: int,
    *,
    claimed: bool,
    delayed: bool,
) -> Select[*tuple[Any, ...]]:
    """Walk the queue from the marker."""
    wanted = wanted.where(messages.c.position > after)
    if not (claimed and delayed):
        of_the_kind = messages.c.claim.is_not(None) if claimed else messages.c.claim.is_(None)
        wanted = wanted.where(or_(messages.c.available_at <= now, of_the_kind))
    return wanted.order_by(messages.c.position).limit(limit)


def _ready_and_due(
    wanted: Select[*tuple[Any, ...]], after: Position, now: Moment, limit: int
) -> Select[*tuple[Any, ...]]:
    """Both kinds of available messages, each from its end of the index."""
    wanted = wanted.with_hint(messages, IN_LINE, "mysql")
    position = messages.c.position
    ready = wanted.where(IS_READY, messages.c.claim.is_(None), position > after)
    due = wanted.where(WAITS, messages.c.available_at <= now, unindexed(position) > after)
    ordered = (ready.order_by(position), due.order_by(unindexed(position)))
    kinds = [select(kind.limit(limit).subquery()) for kind in ordered]
    both = union_all(*kinds).subquery()
    return select(both).order_by(both.c.position).limit(limit)


async def _find(
    connection: AsyncConnection, generation: int, wanted: Sequence[MessageKey], now: Moment
) -> list[Message]:
    """The messages with these ids, whether or not they have moved, in the order asked."""
    elsewhere = await places_moved_to(connection, generation, wanted)
    places = [elsewhere.get(key, key[0]) for key in wanted]
    found: dict[MessageKey, MessageRow] = {}
    for start in range(0, len(places), IN_ONE_STATEMENT):
        rows = await connection.execute(
            select(*MESSAGE).where(
                messages.c.generation == generation,
                messages.c.position.in_(places[start : start + IN_ONE_STATEMENT]),
                messages.c.expires_at > now,
            )
        )
        for row in rows:
            posted = row.position if row.posted_position is None else row.posted_position
            found[posted, row.salt] = row
    return [message_of(found[key], now) for key in wanted if key in found]


async def _restore(connection: AsyncConnection, generation: int, message: Message) -> None:
    """One popped message stands where it stood."""
    parsed = parse_message_id(message.id)
    assert parsed is not None, "popped messages carry ids of ours"
    posted, salt = parsed
    where = {"generation": generation, "position": message.position}
    values = {
        "salt": salt,
        "posted_position": None if posted == message.position else posted,
        "body": message.body,
        "poster": message.poster,
        "ttl": message.ttl,
        "created_at": message.created_at,
        "expires_at": message.expires_at,
        "available_at": READY,
        "claim_count": message.claim_count,
        "attributes": message.attributes,
        "dead": None if message.dead is None else encode(message.dead),
    }
    await connection.execute(dialect_of(connection).insert_missing(messages, where, values))
    if posted != message.position:
        await remember(connection, generation, parsed, message.position)
