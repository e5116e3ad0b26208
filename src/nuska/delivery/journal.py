"""What has become of a queue's deliveries and is not written yet.

Written in an order that no crash can make a lie of: attempts, what is to be tried again, what
was given up, and only then (by whoever calls) cursors and the end of what was tried again. So a
cursor never passes an attempt that is not recorded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from nuska.core.dead_letters import (
    Buried,
    DeadDelivery,
    Letter,
    dead_delivery_of,
    encode_buried,
    with_dead_delivery,
)
from nuska.core.deliveries import CHUNK, Attempt, Row, encode_attempts, encode_row, row_life
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.held import HeldBytes
from nuska.domain.errors import NuskaError
from nuska.domain.internal import internal, is_internal, owner_of
from nuska.domain.messages import Idempotency, NewMessage, QueueRef
from nuska.domain.metadata import DEAD_LETTER_QUEUE_KEY, DEAD_LETTER_TTL_KEY
from nuska.domain.moments import Duration, Moment, seconds
from nuska.domain.subscribers import without_path
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import RandomBytes, Store

CHUNKS_KEPT = 2_000
"""Messages of attempts that one queue keeps, whatever their age."""
SHORTEST_DEATH = seconds(3_600)
"""What is dead stays for somebody to see, although its message may have had less to live."""
FULL = 2_000
"""Entries; with so many unwritten nothing more is begun."""
FULL_BYTES = 4_194_304
"""The same for the messages in them."""
LITTLE = 65_536
"""Bytes that a queue's journal may hold although all together hold too much."""
OF_AN_ENTRY = 500
"""Bytes beside its message, about."""
AT_ONCE = 50
"""Writes under way for one queue."""

logger = logging.getLogger("nuska.delivery")

T = TypeVar("T")


class DueRow(Struct, frozen=True):
    key: str
    """Says which row this is, when it has to be written again."""
    row: Row
    due: Moment


class Journal:
    """Of one queue."""

    def __init__(
        self,
        queue: QueueRef,
        store: Store,
        clock: Clock,
        random_bytes: RandomBytes,
        bounds: DeliveryBounds,
        held: HeldBytes,
        wake: Callable[[QueueRef, int], None] = lambda _, __: None,
    ) -> None:
        """``wake``: told of what became available in queues of callers."""
        self._held = held
        self._queue = queue
        self._wake = wake
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._bounds = bounds
        self._attempts_queue = internal("attempts", queue)
        self._rows_queue = internal("retries", queue)
        self._dead_queue = internal("dead", queue)
        self._attempts: list[Attempt] = []
        self._chunks: list[tuple[str, list[Attempt]]] = []
        self._rows: list[DueRow] = []
        self._buried: list[tuple[str, Buried]] = []
        self._finished: list[str] = []
        self._chunks_there: int | None = None
        self._count = 0
        """Of entries."""
        self._bytes = 0
        self._is_over = False

    def attempt(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)
        self._count += 1

    def row(self, row: DueRow) -> None:
        self._rows.append(row)
        self._add_up(1, _size(row.row.letter))

    def bury(self, key: str, buried: Buried) -> None:
        self._buried.append((key, buried))
        self._add_up(1, _size(buried.letter))

    def finish(self, row_id: str) -> None:
        """A row that was tried needs nothing more, or has another in its place."""
        self._finished.append(row_id)
        self._count += 1

    @property
    def is_full(self) -> bool:
        """Asked several times for each delivery."""
        if self._count >= FULL or self._bytes >= FULL_BYTES:
            return True
        return self._bytes > LITTLE and self._held.is_full_of_unwritten

    def forget(self) -> None:
        """Nothing that stands here is going to be written."""
        self._add_up(-self._count, -self._bytes)
        self._is_over = True

    def _add_up(self, entries: int, size: int) -> None:
        if self._is_over:  # a flush may still be under way, and so may deliveries
            return
        self._count += entries
        self._bytes += size
        self._held.unwritten += size

    @property
    def earliest_row(self) -> Moment | None:
        return min((row.due for row in self._rows), default=None)

    def begin(self) -> tuple[int, int, int, int]:
        """What stands here now is to be written by the next ``write``, which is given this."""
        for at in range(0, len(self._attempts), CHUNK):
            key = self._random_bytes(12).hex()
            self._chunks.append((key, self._attempts[at : at + CHUNK]))
        self._attempts = []
        return len(self._chunks), len(self._rows), len(self._buried), len(self._finished)

    async def write(self, begun: tuple[int, int, int, int]) -> None:
        """Everything but ends of rows. What was written stands here no more; may be repeated."""
        chunks, rows, buried, _ = begun
        await self._written(self._chunks, chunks, self._write_chunk, _weigh_chunk)
        await self._written(self._rows, rows, self._write_row, _weigh_row)
        await self._written(self._buried, buried, self._write_buried, _weigh_buried)

    async def end_rows(self, begun: tuple[int, int, int, int]) -> None:
        count = begun[3]
        if count:
            now = self._clock.now()
            ids = self._finished[:count]
            await self._store.messages.delete_many(self._rows_queue, ids, now=now)
            del self._finished[:count]
            self._count -= count

    async def _written(
        self,
        entries: list[T],
        count: int,
        write: Callable[[T], Awaitable[None]],
        weigh: Callable[[T], tuple[int, int]],
    ) -> None:
        while count > 0:
            some = entries[: min(count, AT_ONCE)]
            await asyncio.gather(*map(write, some))
            del entries[: len(some)]
            for written, size in map(weigh, some):
                self._add_up(-written, -size)
            count -= len(some)

    async def _write_chunk(self, chunk: tuple[str, list[Attempt]]) -> None:
        key, attempts = chunk
        ttl = seconds(self._bounds.attempts_kept)
        await self._add(self._attempts_queue, key, encode_attempts(attempts), ttl, Duration(0))
        if self._chunks_there is None:
            stats = await self._store.queues.stats(self._attempts_queue, now=self._clock.now())
            self._chunks_there = stats.ready
        else:
            self._chunks_there += 1
        surplus = self._chunks_there - CHUNKS_KEPT
        if surplus >= AT_ONCE:
            self._chunks_there -= surplus
            now = self._clock.now()
            await self._store.messages.pop(self._attempts_queue, limit=surplus, now=now)

    async def _write_row(self, due: DueRow) -> None:
        now = self._clock.now()
        delay = Duration(max(due.due - now, 0))
        ttl = row_life(due.row, delay, now)
        await self._add(self._rows_queue, due.key, encode_row(due.row), ttl, delay)

    async def _write_buried(self, entry: tuple[str, Buried]) -> None:
        key, buried = entry
        grave = await self._grave(buried)
        if grave is not None:
            try:
                await self._write_grave(key, buried, *grave)
                return
            except NuskaError as error:  # it must not hold up all other deliveries
                reason = error.description
                logger.warning("a dead-letter queue takes nothing", extra={"reason": reason})
        ttl = seconds(self._bounds.dead_letters_kept)
        await self._add(self._dead_queue, key, encode_buried(buried), ttl, Duration(0))

    async def _write_grave(
        self, key: str, buried: Buried, target: QueueRef, ttl: Duration | None
    ) -> None:
        letter, now = buried.letter, self._clock.now()
        dead = DeadDelivery(
            origin=self._queue.name,
            is_topic=is_internal(self._queue.project),
            message=letter.id,
            subscription=buried.subscription,
            subscriber=without_path(buried.subscriber),
            reason=buried.reason,
            attempts=buried.attempts,
            at=buried.at,
        )
        new = NewMessage(
            body=bytes(letter.body),
            ttl=Duration(max(letter.expires_at - now, SHORTEST_DEATH)) if ttl is None else ttl,
            attributes=with_dead_delivery(letter.attributes_as_posted, dead),
        )
        await self._store.messages.add(
            target, [new], idempotency=Idempotency(key, key.encode()), now=now
        )
        self._wake(target, 1)

    async def _grave(self, buried: Buried) -> tuple[QueueRef, Duration | None] | None:
        """The queue's dead-letter queue, and how long what is there lives; None without one, and
        for what has come from one: nothing goes round in circles."""
        if dead_delivery_of(buried.letter.attributes_as_posted) is not None:
            return None
        queue = await self._store.queues.get(self._queue)
        metadata = {} if queue is None else queue.metadata
        name, ttl = metadata.get(DEAD_LETTER_QUEUE_KEY), metadata.get(DEAD_LETTER_TTL_KEY)
        if not isinstance(name, str):
            return None
        target = QueueRef(owner_of(self._queue.project), name)
        if target == self._queue:
            return None
        return target, seconds(ttl) if isinstance(ttl, int) else None

    async def _add(
        self, queue: QueueRef, key: str, body: bytes, ttl: Duration, delay: Duration
    ) -> None:
        await self._store.messages.add(
            queue,
            [NewMessage(body=body, ttl=ttl, delay=delay)],
            idempotency=Idempotency(key, key.encode()),
            now=self._clock.now(),
        )


def _size(letter: Letter) -> int:
    return len(letter.body) + len(letter.attributes_as_posted or b"") + OF_AN_ENTRY


def _weigh_chunk(chunk: tuple[str, list[Attempt]]) -> tuple[int, int]:
    return len(chunk[1]), 0


def _weigh_row(due: DueRow) -> tuple[int, int]:
    return 1, _size(due.row.letter)


def _weigh_buried(entry: tuple[str, Buried]) -> tuple[int, int]:
    return 1, _size(entry[1].letter)
