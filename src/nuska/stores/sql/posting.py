"""Posts: several of one queue in one transaction, each with its own answer."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from msgspec import Struct
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Conflict, QueueMissing
from nuska.domain.limits import IDEMPOTENCY_TTL
from nuska.domain.messages import Added, Idempotency, NewMessage, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import SALT_BYTES, message_id, next_position
from nuska.interfaces.storage import RandomBytes
from nuska.stores.sql import locking
from nuska.stores.sql.announcing import log_newest
from nuska.stores.sql.at_once import AtOnce, Newcomers
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.line import Lines
from nuska.stores.sql.rows import QueueRow
from nuska.stores.sql.tables import READY, delays_ending, messages, posts


class Post(Struct, frozen=True):
    """What stands in line."""

    messages: Sequence[NewMessage]
    poster: bytes
    idempotency: Idempotency | None
    create: bool
    """Make the queue when it is missing."""
    now: Moment


class Poster:
    """Adds messages at the tails of queues."""

    def __init__(self, database: Database, at_once: AtOnce, random_bytes: RandomBytes) -> None:
        self._database = database
        self._at_once = at_once
        self._random_bytes = random_bytes
        self._lines: Lines[QueueRef, Post, Added] = Lines(self._perform)

    async def add(self, queue: QueueRef, post: Post) -> Added:
        """Store a post, together with those that wait for the same queue."""
        return await self._lines.stand(queue, post)

    async def close(self) -> None:
        await self._lines.close()

    async def _perform(self, queue: QueueRef, group: Sequence[Post]) -> list[Added | Exception]:
        drawn: list[bytes | None] = [None for _ in group]
        if all(_is_usual(post) for post in group):
            salts = [self._random_bytes(SALT_BYTES * len(post.messages)) for post in group]
            added = await self._add_at_once(queue, group, b"".join(salts))
            if added is not None:
                return added
            drawn = [*salts]

        async def work(connection: AsyncConnection) -> list[Added | Exception]:
            latest = max(post.now for post in group)
            # One that creates it does so for all: they come at the same time.
            create = any(post.create for post in group)
            row = await self._row(connection, queue, latest, create=create)
            if row is None:
                return [QueueMissing() for _ in group]
            await locking.relax(connection, row)
            batch = Batch(row, self._database.moment(max(latest, row.last_moment)))
            answers = [
                await self._one(connection, batch, post, salts)
                for post, salts in zip(group, drawn, strict=True)
            ]
            await batch.write(connection)
            return answers

        return await self._database.write(work)

    async def _row(
        self, connection: AsyncConnection, queue: QueueRef, now: Moment, *, create: bool
    ) -> QueueRow | None:
        if create:
            return await locking.find_or_create(connection, self._database, queue, now)
        return await locking.find(connection, queue, Lock.COUNTING)

    async def _add_at_once(
        self, queue: QueueRef, group: Sequence[Post], random: bytes
    ) -> list[Added | Exception] | None:
        """None, and nothing done, where it takes more than one statement."""
        new = [(message, post.poster) for post in group for message in post.messages]
        salts = _salts(random)
        newcomers = Newcomers(
            salts=salts,
            bodies=[message.body for message, _ in new],
            posters=[poster for _, poster in new],
            ttls=[message.ttl for message, _ in new],
            attributes=[message.attributes for message, _ in new],
            now=max(post.now for post in group),
        )
        first = await self._at_once.add(queue, newcomers)
        if first is None:
            return None
        ids = (message_id(first + index, salt) for index, salt in enumerate(salts))
        return [Added(list(islice(ids, len(post.messages)))) for post in group]

    async def _one(
        self, connection: AsyncConnection, batch: "Batch", post: Post, salts: bytes | None
    ) -> Added | Exception:
        if post.idempotency is not None:
            try:
                before = await _earlier_post(connection, batch, post.idempotency)
            except Conflict as refusal:
                return refusal
            if before is not None:
                return before
            if not post.messages:
                return Added([])
        if salts is None:
            salts = self._random_bytes(SALT_BYTES * len(post.messages))
        first, ids = batch.add(post, salts)
        if post.idempotency is not None:
            await _remember_post(connection, batch, post.idempotency, first, salts)
        return Added(ids)


def _is_usual(post: Post) -> bool:
    return (
        post.idempotency is None
        and len(post.messages) > 0
        and not any(message.delay > 0 for message in post.messages)
    )


def _salts(random: bytes) -> list[bytes]:
    return [random[at : at + SALT_BYTES] for at in range(0, len(random), SALT_BYTES)]


class Batch:
    """The rows of one transaction, which are written together at its end."""

    def __init__(self, row: QueueRow, moment: Moment) -> None:
        self.row = row
        self.moment = moment
        self._last_position = row.last_position
        self._rows: list[dict[str, Any]] = []

    def add(self, post: Post, salts: bytes) -> tuple[int, list[Any]]:
        """Give a post its places; the first of them, and the ids."""
        first = position = int(next_position(self._last_position, self.moment))
        ids = []
        for index, message in enumerate(post.messages):
            salt = salts[index * SALT_BYTES : (index + 1) * SALT_BYTES]
            self._rows.append(self._columns(position, salt, message, post.poster))
            ids.append(message_id(position, salt))
            position += 1
        self._last_position = position - 1
        return first, ids

    def _columns(
        self, position: int, salt: bytes, message: NewMessage, poster: bytes
    ) -> dict[str, Any]:
        delayed = message.delay > 0
        return {
            "generation": self.row.generation,
            "position": position,
            "salt": salt,
            "body": message.body,
            "poster": poster,
            "ttl": message.ttl,
            "created_at": self.moment,
            "expires_at": self.moment + message.ttl,
            "available_at": self.moment + message.delay if delayed else READY,
            "claim_count": 0,
            "attributes": message.attributes,
        }

    async def write(self, connection: AsyncConnection) -> None:
        if not self._rows:
            return
        await connection.execute(insert(messages), self._rows)
        if self.row.log is not None:
            first, last = self._rows[0]["position"], self._last_position
            await log_newest(connection, self.row.generation, self.row.log, first, last)
        for end in sorted({row["available_at"] for row in self._rows} - {READY}):
            await announce_delay(connection, self.row.generation, end)
        await locking.keep_counter(connection, self.row, self._last_position, self.moment)


async def announce_delay(connection: AsyncConnection, generation: int, end: int) -> None:
    """Have the sweep look at a generation when a delay ends.

    A row that is there already is written again, so that no sweep takes it away meanwhile.
    """
    where = {"available_at": end, "generation": generation}
    again = {"generation": generation}
    await connection.execute(dialect_of(connection).upsert(delays_ending, where, again))


async def _earlier_post(
    connection: AsyncConnection, batch: Batch, idempotency: Idempotency
) -> Added | None:
    """The ids of the post that first used this key; ``Conflict`` if it was another post."""
    found = (
        await connection.execute(
            select(posts.c.fingerprint, posts.c.first_position, posts.c.salts).where(
                posts.c.queue == batch.row.id,
                posts.c.key == idempotency.key.encode(),
                posts.c.expires_at > batch.moment,
            )
        )
    ).one_or_none()
    if found is None:
        return None
    fingerprint, first, salts = found
    if fingerprint != idempotency.fingerprint:
        raise Conflict(
            "This Idempotency-Key was used within the last 10 minutes to post something else."
        )
    ids = [
        message_id(first + index, salts[index * SALT_BYTES : (index + 1) * SALT_BYTES])
        for index in range(len(salts) // SALT_BYTES)
    ]
    return Added(ids, replayed=True)


async def _remember_post(
    connection: AsyncConnection, batch: Batch, idempotency: Idempotency, first: int, salts: bytes
) -> None:
    values = {
        "fingerprint": idempotency.fingerprint,
        "first_position": first,
        "salts": salts,
        "expires_at": batch.moment + IDEMPOTENCY_TTL,
    }
    where = {"queue": batch.row.id, "key": idempotency.key.encode()}
    await connection.execute(dialect_of(connection).upsert(posts, where, values))
