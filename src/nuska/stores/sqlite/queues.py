"""Queues: names, metadata, statistics, and the O(1) purge and delete."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import apsw
import msgspec

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.queues import EMPTY_STATS, Landmark, Metadata, Queue, Stats
from nuska.stores.sqlite.connection import snapshot
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.reader import MarkedReader, NotMarked, Reader
from nuska.stores.sqlite.registry import Registry
from nuska.stores.sqlite.rows import QueueRow, id_of, queue_of
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.unmarked import mark_some
from nuska.stores.sqlite.writer import Writer

UPDATE_METADATA = query("update_metadata")
LIST_QUEUES = query("list_queues")
COUNT_QUEUES = query("count_queues")
COUNT_READY = query("count_ready")
COUNT_WAITING = query("count_waiting")
OLDEST = query("oldest_message")
NEWEST = query("newest_message")
IS_LARGE = query("is_large")

MOST_LOOKS = 100
"""Steps of marking after which who wants to look is told to come again."""
COUNTED_AT_ONCE = 500
"""Messages a queue may have for its statistics to be counted on the event loop."""

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class SqliteQueues:
    """``QueueStore`` on one database file."""

    def __init__(self, writer: Writer, reader: Reader, registry: Registry) -> None:
        self._writer = writer
        self._reader = reader
        self._registry = registry

    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        if self.row(ref) is not None:
            return False

        def work(transaction: Transaction) -> bool:
            if transaction.row(ref) is not None:
                return False
            transaction.create(ref, metadata, relaxed=relaxed)
            return True

        return await self._writer.run(work, now=now)

    async def get(self, ref: QueueRef) -> Queue | None:
        row = self.row(ref)
        return None if row is None else row.queue

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        def work(transaction: Transaction) -> bool:
            row = transaction.row(queue.ref)
            if row is None or row.queue.version != queue.version:
                return False
            encoded = _encode(metadata)
            transaction.execute(UPDATE_METADATA, (encoded, int(relaxed), row.id))
            transaction.change(row, queue_of(queue.ref, encoded, relaxed, queue.version + 1))
            return True

        return await self._writer.run(work, now=now)

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        def work(transaction: Transaction) -> None:
            row = transaction.row(ref)
            if row is not None:
                transaction.delete(row)

        await self._writer.run(work, now=now)

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        def work(transaction: Transaction) -> None:
            row = transaction.row(ref)
            if row is not None:
                transaction.start_generation(row)

        await self._writer.run(work, now=now)

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,
    ) -> list[Queue]:
        reads = with_metadata or bool(metadata_equals)

        def work(connection: apsw.Connection) -> list[Queue]:
            found: list[Queue] = []
            values = {
                "project": project,
                "after": "" if after is None else after,
                "part": name_contains,
                "limit": -1 if metadata_equals else limit,
                **_asked_for(metadata_equals),
            }
            for name, metadata, relaxed, version in connection.execute(LIST_QUEUES, values):
                ref = QueueRef(project, name)
                queue = (
                    queue_of(ref, metadata, relaxed, version)
                    if reads
                    else Queue(ref=ref, metadata={})
                )
                if not metadata_equals or _matches(queue.metadata, metadata_equals):
                    found.append(queue)
                    if len(found) == limit:
                        break
            return found

        if name_contains is None and not metadata_equals:
            return self._reader.read(work)
        return await self._reader.scan(work)

    async def count(self, project: str) -> int:
        def work(connection: apsw.Connection) -> int:
            return int(connection.execute(COUNT_QUEUES, (project,)).get)

        return await self._reader.scan(work)

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats:
        moment = self._writer.moment(now)

        async def read(row: QueueRow, reader: MarkedReader) -> Stats:
            generation = row.generation

            def large(connection: apsw.Connection) -> bool:
                return connection.execute(IS_LARGE, (generation, COUNTED_AT_ONCE)).get is not None

            def work(connection: apsw.Connection) -> Stats:
                return _count(connection, generation, moment)

            return await reader.scan(work) if reader.read(large) else reader.read(work)

        return await self.look(ref, now, read) or EMPTY_STATS

    def row(self, ref: QueueRef) -> QueueRow | None:
        """The queue as last committed; ``QueueAway`` when it is fenced."""
        row = self.any_row(ref)
        if row is not None and row.fenced:
            raise QueueAway
        return row

    async def look(
        self,
        ref: QueueRef,
        now: Moment,
        read: Callable[[QueueRow, MarkedReader], Awaitable[T]],
    ) -> T | None:
        """Read messages of a queue as they are, those in a claim marked; None: no such queue."""
        for _ in range(MOST_LOOKS):
            row = self.row(ref)
            if row is None:
                return None
            if row.unmarked is None:
                try:
                    return await read(row, MarkedReader(self._reader, row.generation))
                except NotMarked:  # since then
                    pass
            await self.mark(row, now)
        raise Unavailable("The queue is too busy to be looked at.", retry_after=1)

    async def marked(self, ref: QueueRef, now: Moment) -> None:
        """Mark what claims have, in steps, for somebody whose transaction does what is left."""
        for _ in range(MOST_LOOKS):
            row = self.row(ref)
            if row is None or row.unmarked is None:
                return
            await self.mark(row, now)

    async def mark(self, row: QueueRow, now: Moment) -> None:
        """One step of that."""
        ref = row.queue.ref

        def work(transaction: Transaction) -> None:
            row = transaction.row(ref)
            if row is not None:
                mark_some(transaction, row)

        await self._writer.run(work, now=now, relaxed=row.queue.relaxed)

    def any_row(self, ref: QueueRef) -> QueueRow | None:
        """The queue as last committed, fenced or not."""
        row = self._registry.cached(ref)
        if row is not None:
            return row

        def work(connection: apsw.Connection) -> QueueRow | None:
            return self._registry.load(connection.execute, ref)

        row = self._reader.read(work)
        if row is not None:
            self._registry.keep(ref, row, self._writer.last_moment)
        return row

    def base_of_missing(self, ref: QueueRef, now: Moment) -> int:
        """Positions of a queue that does not exist would begin above this."""
        return self._registry.base_of_missing(ref, now)

    def relaxed(self, ref: QueueRef) -> bool:
        """Whether a write to the queue is acknowledged before it is synced (D18)."""
        row = self.row(ref)
        return row is not None and row.queue.relaxed


def _asked_for(metadata_equals: Metadata | None) -> dict[str, str | int | float | None]:
    """One of the pairs, for the database to look for: it holds no lock of the interpreter
    while it reads the metadata of many queues."""
    for key, value in (metadata_equals or {}).items():
        if isinstance(value, str | int | float):
            return {"key": key, "value": value}
    return {"key": None, "value": None}


def _matches(metadata: Metadata, wanted: Metadata) -> bool:
    """Whether every wanted pair is there, equal in type (1 is not true) and value."""
    missing = object()
    for key, value in wanted.items():
        held = metadata.get(key, missing)
        if type(held) is not type(value) or held != value:
            return False
    return True


def _count(connection: apsw.Connection, generation: int, now: Moment) -> Stats:
    with snapshot(connection):  # so that the counts add up (I14)
        ready = int(connection.execute(COUNT_READY, (generation, now)).get)
        claimed, delayed, due = connection.execute(
            COUNT_WAITING, {"generation": generation, "now": now}
        ).get
        return Stats(
            ready=ready + due,
            delayed=delayed,
            claimed=claimed,
            oldest=_landmark(connection, OLDEST, generation, now),
            newest=_landmark(connection, NEWEST, generation, now),
        )


def _landmark(
    connection: apsw.Connection, sql: str, generation: int, now: Moment
) -> Landmark | None:
    row = connection.execute(sql, (generation, now)).fetchone()
    if row is None:
        return None
    position, salt, posted_position, created_at = row
    return Landmark(id_of(position, salt, posted_position), Moment(created_at))
