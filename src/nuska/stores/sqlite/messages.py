"""Messages: post, read, delete, pop."""

from collections.abc import Generator, Sequence

import apsw

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
from nuska.domain.positions import (
    SALT_BYTES,
    Position,
    message_id,
    next_position,
    parse_claim_id,
    parse_message_id,
)
from nuska.domain.queues import NOTHING_HELD, Measure
from nuska.interfaces.storage import RandomBytes
from nuska.stores.sqlite.announcements import announce
from nuska.stores.sqlite.choosing import (
    Stretch,
    any_due,
    behind_expired,
    everything,
    make_due_ready,
    none_expired,
    take_first,
)
from nuska.stores.sqlite.deleting import delete_all, delete_claimed, delete_one, remove
from nuska.stores.sqlite.line import Work
from nuska.stores.sqlite.listing import list_page
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.queues import SqliteQueues
from nuska.stores.sqlite.reader import MarkedReader, Reader
from nuska.stores.sqlite.rows import QueueRow, encode_dead, message_of, message_rows
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import mark_all, mind_end
from nuska.stores.sqlite.writer import Writer

ADD_MESSAGE = query("add_message")
ADD_DELAY = query("add_delay")
GET_POST = query("get_post")
ADD_POST = query("add_post")
GET_MESSAGE = query("get_message")
ADD_MOVED = query("add_moved")
GET_MOVED = query("get_moved")
RESTORE_MESSAGE = query("restore_message")
NEXT_DUE = query("next_due")
NEXT_UNMARKED_END = query("next_unmarked_end")
MEASURE = query("measure")
IS_LARGE = query("is_large")

SLICE = 250
"""Rows a long post writes before other requests get a turn (about a millisecond)."""
MEASURED_AT_ONCE = 500
"""Messages a queue may have to be measured on the event loop."""


class SqliteMessages:
    """``MessageStore`` on one database file."""

    def __init__(
        self, writer: Writer, reader: Reader, queues: SqliteQueues, random_bytes: RandomBytes
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._queues = queues
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
        if idempotency is None and len(messages) <= SLICE:

            def short(transaction: Transaction) -> Added:
                row = transaction.row_to_write(queue, create=create)
                return self._add(transaction, row, messages, poster)[0]

            return await self._writer.run(short, now=now, relaxed=self._queues.relaxed(queue))

        def long(transaction: Transaction) -> Generator[None, None, Added]:
            row = transaction.row(queue)
            if row is not None and idempotency is not None:
                before = _earlier_post(transaction, row, idempotency)
                if before is not None:
                    return before
            if idempotency is not None and not messages:
                return Added([])
            row = row or transaction.row_to_write(queue, create=create)
            first = next_position(row.last_position, transaction.now)
            added, salts = Added([]), b""
            for start in range(0, len(messages), SLICE):
                if start:
                    yield
                part, part_salts = self._add(
                    transaction, row, messages[start : start + SLICE], poster
                )
                added.ids.extend(part.ids)
                salts += part_salts
            if idempotency is not None:
                end = transaction.now + IDEMPOTENCY_TTL
                values = (row.id, idempotency.key, idempotency.fingerprint, first, salts, end)
                transaction.execute(ADD_POST, values)
            return added

        return await self._writer.run(
            long, now=now, relaxed=self._queues.relaxed(queue), long=len(messages) > SLICE
        )

    def _add(
        self,
        transaction: Transaction,
        row: QueueRow,
        messages: Sequence[NewMessage],
        poster: bytes,
    ) -> tuple[Added, bytes]:
        """Insert at the tail; returns the ids and the salts in them."""
        now = transaction.now
        generation = row.generation
        position: int = next_position(row.last_position, now)
        salts = self._random_bytes(SALT_BYTES * len(messages))
        ids = []
        values = []
        delays = set()
        at = 0
        for message in messages:
            salt = salts[at : at + SALT_BYTES]
            at += SALT_BYTES
            available_at = None
            if message.delay > 0:
                available_at = now + message.delay
                delays.add(available_at)
            values.append(
                (
                    generation,
                    position,
                    salt,
                    message.body,
                    poster,
                    message.ttl,
                    now,
                    now + message.ttl,
                    available_at,
                    message.attributes,
                )
            )
            ids.append(message_id(position, salt))
            position += 1
        if len(values) == 1:
            transaction.execute(ADD_MESSAGE, values[0])
        else:
            transaction.executemany(ADD_MESSAGE, values)
        for available_at in delays:
            transaction.execute(ADD_DELAY, (available_at, generation))
        if row.log is not None:
            announce(transaction, row, position - len(values), position - 1)
        row.last_position = position - 1
        return Added(ids), salts

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
        moment = self._writer.moment(now)

        async def read(row: QueueRow, reader: MarkedReader) -> Page:
            return await list_page(
                reader,
                row.generation,
                after=after,
                limit=limit,
                hide=hide_poster,
                claimed=include_claimed,
                delayed=include_delayed,
                now=moment,
            )

        return await self._queues.look(queue, now, read) or Page([], after)

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        parsed = parse_message_id(message_id)
        row = self._queues.row(queue)
        if parsed is None or row is None:
            return None if parsed is None else parsed[0]

        def work(connection: apsw.Connection) -> int | None:
            found: int | None = connection.execute(GET_MOVED, (row.generation, *parsed)).get
            return found

        moved = self._reader.read(work)
        return parsed[0] if moved is None else Position(moved)

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        moment = self._writer.moment(now)

        async def read(row: QueueRow, reader: MarkedReader) -> list[Message]:
            generation = row.generation

            def work(connection: apsw.Connection) -> list[Message]:
                found = (_find(connection, generation, one, moment) for one in dict.fromkeys(ids))
                return [message for message in found if message is not None]

            return reader.read(work)

        return await self._queues.look(queue, now, read) or []

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        parsed = parse_message_id(message_id)
        if parsed is None or self._queues.row(queue) is None:
            return DeleteOutcome.MISSING

        def work(transaction: Transaction) -> DeleteOutcome:
            row = transaction.row(queue)
            if row is None:
                return DeleteOutcome.MISSING
            return delete_one(transaction, row, parsed, claim_id)

        return await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        wanted = [parsed for one in dict.fromkeys(ids) if (parsed := parse_message_id(one))]
        if not wanted or self._queues.row(queue) is None:
            return True
        named = None
        if claim_ids is not None:
            named = {name for one in claim_ids if (name := parse_claim_id(one)) is not None}

        def work(transaction: Transaction) -> bool:
            row = transaction.row(queue)
            if row is None:
                return True
            if named is None:
                delete_all(transaction, row, wanted)
                return True
            return delete_claimed(transaction, row, wanted, named)

        return await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        if self._queues.row(queue) is None:
            return []

        def work(
            transaction: Transaction,
        ) -> list[Message] | Generator[None, None, list[Message]]:
            row = transaction.row(queue)
            if row is None:
                return []
            row = mind_end(transaction, row)
            if none_expired(transaction) and not any_due(transaction, row):
                return _pop(transaction, everything(row), limit)
            return behind(transaction, row)

        def behind(transaction: Transaction, row: QueueRow) -> Generator[None, None, list[Message]]:
            if any_due(transaction, row):
                row = yield from make_due_ready(transaction, row)
            return _pop(transaction, (yield from behind_expired(transaction, row)), limit)

        return await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        await self._queues.marked(queue, now)

        def restore(transaction: Transaction) -> Generator[None, None, None]:
            row = transaction.row(queue)
            if row is None:
                return
            row = yield from mark_all(transaction, row)
            for message in popped:
                if row.base_position < message.position and message.expires_at > transaction.now:
                    _restore(transaction, row, message)

        work: Work[None] = restore
        await self._writer.run(work, now=now, relaxed=self._queues.relaxed(queue))

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        row = self._queues.row(queue)
        if row is None:
            return None
        values = (row.generation, self._writer.moment(now))

        def work(connection: apsw.Connection) -> int | None:
            found: int | None = connection.execute(NEXT_DUE, values).get
            if row.unmarked is None:
                return found
            end: int | None = row.unmarked.end
            if row.unmarked.end <= values[1]:
                end = connection.execute(NEXT_UNMARKED_END, values).get
            return end if found is None or (end is not None and end < found) else found

        due = self._reader.read(work)
        return None if due is None else Moment(due)

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        row = self._queues.row(queue)
        if row is None:
            return NOTHING_HELD
        generation = row.generation
        values = {
            "generation": generation,
            "after": after,
            "limit": limit,
            "now": self._writer.moment(now),
        }

        def large(connection: apsw.Connection) -> bool:
            return connection.execute(IS_LARGE, (generation, MEASURED_AT_ONCE)).get is not None

        def work(connection: apsw.Connection) -> Measure:
            looked, last, held, size = connection.execute(MEASURE, values).get
            marker = Position(last) if looked == limit else None
            return Measure(messages=held, bytes=size, marker=marker)

        return (
            await self._reader.scan(work) if self._reader.read(large) else self._reader.read(work)
        )


def _pop(transaction: Transaction, stretch: Stretch, limit: int) -> list[Message]:
    """Take the first live messages of a stretch away."""
    rows = take_first(transaction, stretch, limit)
    remove(transaction, stretch.row.generation, [(row[0], row[2], row[1]) for row in rows])
    return [message_of(row, transaction.now) for row in rows]


def _earlier_post(
    transaction: Transaction, row: QueueRow, idempotency: Idempotency
) -> Added | None:
    """The ids of the post that first used this key; ``Conflict`` if it was another post."""
    found = transaction.execute(GET_POST, (row.id, idempotency.key, transaction.now)).fetchone()
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


def _find(connection: apsw.Connection, generation: int, wanted: str, now: Moment) -> Message | None:
    """The message with this id in this generation, whether or not it has moved."""
    parsed = parse_message_id(wanted)
    if parsed is None:
        return None
    position, salt = parsed
    rows = message_rows(connection.execute(GET_MESSAGE, (generation, position, now)))
    if not rows or rows[0][1] != salt or rows[0][2] is not None:
        moved = connection.execute(GET_MOVED, (generation, position, salt)).get
        if moved is None:
            return None
        rows = message_rows(connection.execute(GET_MESSAGE, (generation, moved, now)))
    return message_of(rows[0], now) if rows else None


def _restore(transaction: Transaction, row: QueueRow, message: Message) -> None:
    """One popped message stands where it stood."""
    row.became_ready(message.position)
    parsed = parse_message_id(message.id)
    assert parsed is not None, "popped messages carry ids of ours"
    posted, salt = parsed
    posted_position = None if posted == message.position else posted
    transaction.execute(
        RESTORE_MESSAGE,
        (
            row.generation,
            message.position,
            salt,
            posted_position,
            message.body,
            message.poster,
            message.ttl,
            message.created_at,
            message.expires_at,
            message.claim_count,
            message.attributes,
            None if message.dead is None else encode_dead(message.dead),
        ),
    )
    if posted_position is not None:
        remember_move(transaction, row.generation, posted_position, salt, message.position)


def remember_move(
    transaction: Transaction, generation: int, posted_position: int, salt: bytes, position: int
) -> None:
    """Make a message findable by the id it was posted with."""
    transaction.execute(ADD_MOVED, (generation, posted_position, salt, position))
