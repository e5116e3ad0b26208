"""Carrying queues out of and into the database file."""

from collections.abc import Generator, Sequence

import apsw
import msgspec

from nuska.domain.errors import Conflict
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import (
    SALT_BYTES,
    MessageId,
    Position,
    message_id,
    next_position,
    parse_claim_id,
    parse_message_id,
)
from nuska.interfaces.pooling import LATER, NOT_FENCED, Lease, Outline, RememberedPost
from nuska.stores.sqlite.announcements import load_announcements, page_of_log
from nuska.stores.sqlite.deleting import delete_all
from nuska.stores.sqlite.line import Work
from nuska.stores.sqlite.messages import ADD_DELAY, ADD_POST, SLICE, remember_move
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.queues import SqliteQueues
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.rows import QueueRow, encode_dead, message_of, message_rows, queue_of
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import mark_all
from nuska.stores.sqlite.writer import Writer

PAGE_ALL = query("page_all")
LOAD_MESSAGE = query("load_message")
LOAD_CLAIM = query("load_claim")
MOVE_MESSAGE = query("move_message")
LIST_CLAIMS = query("list_claims")
LIST_POSTS = query("list_posts")
LIST_ARRIVALS = query("list_arrivals")
GET_ARRIVAL = query("get_arrival")
SET_ARRIVAL = query("set_arrival")
UPDATE_METADATA = query("update_metadata")

_encode = msgspec.json.Encoder().encode


class SqliteTransfers:
    """``TransferStore`` on one database file."""

    def __init__(self, writer: Writer, reader: Reader, queues: SqliteQueues) -> None:
        self._writer = writer
        self._reader = reader
        self._queues = queues

    async def outline(self, queue: QueueRef) -> Outline | None:
        row = self._queues.any_row(queue)
        if row is None:
            return None
        row_id = row.id

        def work(connection: apsw.Connection) -> dict[str, Position]:
            return dict(connection.execute(LIST_ARRIVALS, (row_id,)))

        return Outline(
            metadata=row.queue.metadata,
            relaxed=row.queue.relaxed,
            base=Position(row.base_position),
            last=Position(row.last_position),
            fenced=row.fenced,
            epoch=row.epoch,
            arrived=self._reader.read(work),
            logged=row.log is not None,
        )

    async def fence(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        def fence(transaction: Transaction) -> Generator[None, None, None]:
            row = transaction.any_row(queue)
            _refuse_late(row, epoch)
            row = row or transaction.create(queue, {}, relaxed=False)
            row = yield from mark_all(transaction, row)
            transaction.fence(row, True, epoch)

        work: Work[None] = fence
        await self._writer.run(work, now=now)

    async def open(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        def work(transaction: Transaction) -> None:
            row = _fenced(transaction, queue, epoch)
            if row is not None:
                transaction.fence(row, False, epoch)

        await self._writer.run(work, now=now)

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        row = self._queues.any_row(queue)
        if row is None:
            return []
        moment = self._writer.moment(now)
        values = {
            "generation": row.generation,
            "after": after,
            "limit": limit,
            "now": moment,
            "hide": None,
            "claimed": 1,
            "delayed": 1,
        }

        def work(connection: apsw.Connection) -> list[Message]:
            return [
                message_of(one, moment)
                for one in message_rows(connection.execute(PAGE_ALL, values))
            ]

        return await self._reader.scan(work)

    async def dump_claims(self, queue: QueueRef, *, after: str, limit: int) -> list[Lease]:
        row = self._queues.any_row(queue)
        if row is None:
            return []
        values = (row.generation, bytes.fromhex(after), limit)

        def work(connection: apsw.Connection) -> list[Lease]:
            return [
                Lease(claim_id=claim.hex(), ttl=ttl, started_at=started_at, expires_at=expires_at)
                for claim, ttl, started_at, expires_at in connection.execute(LIST_CLAIMS, values)
            ]

        return self._reader.read(work)

    async def dump_posts(self, queue: QueueRef, *, after: str, limit: int) -> list[RememberedPost]:
        row = self._queues.any_row(queue)
        if row is None:
            return []
        values = (row.id, after, limit)

        def work(connection: apsw.Connection) -> list[RememberedPost]:
            return [
                RememberedPost(
                    key=key, fingerprint=fingerprint, ids=_ids(first, salts), until=until
                )
                for key, fingerprint, first, salts, until in connection.execute(LIST_POSTS, values)
            ]

        return self._reader.read(work)

    async def dump_log(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        row = self._queues.any_row(queue)
        if row is None or row.log is None:
            return []
        return await page_of_log(self._reader, row.log, after, limit, self._writer.moment(now))

    async def begin(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        def work(transaction: Transaction) -> None:
            before = transaction.any_row(queue)
            _refuse_late(before, epoch)
            if before is not None:
                transaction.delete(before)
            transaction.close_log(queue)
            if outline.logged:
                transaction.open_log(queue)
            row = transaction.create(queue, outline.metadata, relaxed=outline.relaxed)
            row = transaction.place(row, base=outline.base, last=outline.last)
            transaction.fence(row, True, epoch)
            _keep_arrivals(transaction, row, outline)

        await self._writer.run(work, now=now)

    async def amend(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        def work(transaction: Transaction) -> None:
            row = _to_load(transaction, queue, epoch)
            metadata, version = _encode(outline.metadata), row.queue.version + 1
            transaction.execute(UPDATE_METADATA, (metadata, int(outline.relaxed), row.id))
            transaction.change(row, queue_of(queue, metadata, outline.relaxed, version))
            row = _to_load(transaction, queue, epoch)
            last = max(row.last_position, outline.last)
            row = transaction.place(row, base=outline.base, last=last)
            _keep_arrivals(transaction, row, outline)
            if not outline.logged:
                transaction.close_log(queue)
            elif row.log is None:
                transaction.open_log(queue)

        await self._writer.run(work, now=now)

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
        def load(transaction: Transaction) -> Generator[None, None, int]:
            row = _to_load(transaction, queue, epoch)
            leases = [
                (
                    row.generation,
                    parse_claim_id(one.claim_id),
                    one.ttl,
                    one.started_at,
                    one.expires_at,
                )
                for one in claims
            ]
            transaction.executemany(LOAD_CLAIM, leases)
            for post in posts:
                transaction.execute(ADD_POST, _post_columns(row, post))
            for start in range(0, len(messages), SLICE):
                if start:
                    yield
                _load(transaction, row, messages[start : start + SLICE])
            for start in range(0, len(log) if row.log is not None else 0, SLICE):
                if start or messages:
                    yield
                load_announcements(transaction, row, log[start : start + SLICE])
            return len(messages)

        work: Work[int] = load
        await self._writer.run(work, now=now, long=len(messages) + len(log) > SLICE)

    async def unload(self, queue: QueueRef, ids: Sequence[str], *, epoch: int, now: Moment) -> None:
        keys = [key for key in map(parse_message_id, ids) if key is not None]

        def work(transaction: Transaction) -> None:
            delete_all(transaction, _to_load(transaction, queue, epoch), keys)

        await self._writer.run(work, now=now)

    async def forget(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        def work(transaction: Transaction) -> None:
            row = _fenced(transaction, queue, epoch)
            if row is not None:
                transaction.delete(row)
                transaction.close_log(queue)

        await self._writer.run(work, now=now)

    async def arrive(
        self, queue: QueueRef, letters: Sequence[Message], *, source: str, now: Moment
    ) -> None:
        def work(transaction: Transaction) -> None:
            row = transaction.row_to_write(queue, create=False)
            last = transaction.execute(GET_ARRIVAL, (row.id, source)).get or 0
            new = [letter for letter in letters if letter.position > last]
            for letter in new:
                _append(transaction, row, letter)
            if new:
                transaction.execute(SET_ARRIVAL, (row.id, source, new[-1].position))

        await self._writer.run(work, now=now)


def _keep_arrivals(transaction: Transaction, row: QueueRow, outline: Outline) -> None:
    for source, position in outline.arrived.items():
        transaction.execute(SET_ARRIVAL, (row.id, source, position))


def _refuse_late(row: QueueRow | None, epoch: int) -> None:
    if row is not None and (row.epoch > epoch or (row.epoch == epoch and not row.fenced)):
        raise Conflict(LATER)


def _fenced(transaction: Transaction, queue: QueueRef, epoch: int) -> QueueRow | None:
    row = transaction.any_row(queue)
    return row if row is not None and row.fenced and row.epoch == epoch else None


def _to_load(transaction: Transaction, queue: QueueRef, epoch: int) -> QueueRow:
    row = _fenced(transaction, queue, epoch)
    if row is None:
        raise Conflict(NOT_FENCED)
    return row


def _load(transaction: Transaction, row: QueueRow, messages: Sequence[Message]) -> None:
    """Messages stand where they stood, in the state they were in."""
    values = []
    delays = set()
    for message in messages:
        posted, salt = _key(message)
        moved = None if posted == message.position else posted
        waits = message.available_at if message.available_at > transaction.now else None
        claim = parse_claim_id(message.claim_id) if message.claim_id else None
        if waits is not None and claim is None:
            delays.add(waits)
        values.append(
            (
                row.generation,
                message.position,
                salt,
                moved,
                message.body,
                message.poster,
                message.ttl,
                message.created_at,
                message.expires_at,
                waits,
                claim if waits is not None else None,
                message.claim_count,
                message.attributes,
                None if message.dead is None else encode_dead(message.dead),
            )
        )
        if moved is not None:
            remember_move(transaction, row.generation, posted, salt, message.position)
    transaction.executemany(LOAD_MESSAGE, values)
    for moment in delays:
        transaction.execute(ADD_DELAY, (moment, row.generation))


def _append(transaction: Transaction, row: QueueRow, letter: Message) -> None:
    posted, salt = _key(letter)
    row.last_position = next_position(row.last_position, transaction.now)
    transaction.execute(
        MOVE_MESSAGE,
        (
            row.generation,
            row.last_position,
            salt,
            posted,
            letter.body,
            letter.poster,
            letter.ttl,
            letter.created_at,
            letter.expires_at,
            letter.claim_count,
            letter.attributes,
            None if letter.dead is None else encode_dead(letter.dead),
        ),
    )
    remember_move(transaction, row.generation, posted, salt, row.last_position)


def _key(message: Message) -> tuple[Position, bytes]:
    parsed = parse_message_id(message.id)
    assert parsed is not None, "stored messages carry ids of ours"
    return parsed


def _ids(first: int, salts: bytes) -> list[MessageId]:
    """The ids of a remembered post: consecutive positions, a salt each."""
    return [
        message_id(first + at, salts[at * SALT_BYTES : (at + 1) * SALT_BYTES])
        for at in range(len(salts) // SALT_BYTES)
    ]


def _post_columns(
    row: QueueRow, post: RememberedPost
) -> tuple[int, str, bytes, int, bytes, Moment]:
    keys = [parse_message_id(one) for one in post.ids]
    salts = b"".join(key[1] for key in keys if key is not None)
    first = keys[0][0] if keys and keys[0] is not None else Position(0)
    return row.id, post.key, post.fingerprint, first, salts, post.until
