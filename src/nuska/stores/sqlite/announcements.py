"""Announcement logs: what was posted, kept once more for those who are told of it.

A log is a generation of its own in a table of its own. The queue's row in memory names it, so
that a post to a queue without one pays a comparison; a post to a queue with one copies the rows
that it has just written, within the database. Emptying and closing are O(1), as a purge is:
the sweep removes the rows (D17).
"""

from collections.abc import Callable, Sequence

import apsw

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position, floor_at, message_id, parse_message_id
from nuska.interfaces.announcing import OpenLog
from nuska.stores.sqlite.connection import snapshot
from nuska.stores.sqlite.queries import query
from nuska.stores.sqlite.queues import SqliteQueues
from nuska.stores.sqlite.reader import Reader
from nuska.stores.sqlite.rows import QueueRow
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.writer import Writer

ANNOUNCE = query("announce")
GET_LOG = query("get_log")
LAST_ANNOUNCED = query("last_announced")
PAGE_ANNOUNCEMENTS = query("page_announcements")
ANNOUNCEMENTS_WINDOW = query("announcements_window")
ANY_ANNOUNCEMENT = query("any_announcement")
TRIM_ANNOUNCEMENTS = query("trim_announcements")
LOAD_ANNOUNCEMENT = query("load_announcement")

TRIMMED_PER_STEP = 100
"""Rows removed, which nobody waits for: half a millisecond in the way of others."""
WINDOW = 400
"""Rows that a page may pass over on the event loop; expired ones stand there until swept."""
NO_END = 2**63 - 1


class SqliteAnnouncements:
    """``AnnouncementStore`` on one database file."""

    def __init__(self, writer: Writer, reader: Reader, queues: SqliteQueues) -> None:
        self._writer = writer
        self._reader = reader
        self._queues = queues

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        def work(transaction: Transaction) -> OpenLog:
            row = transaction.row(queue)
            version = str(transaction.open_log(queue))
            if row is None:
                return OpenLog(version, Position(transaction.base_of_missing(queue)))
            return OpenLog(version, Position(max(row.last_position, floor_at(transaction.now) - 1)))

        return await self._writer.run(work, now=now)

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        row = self._queues.row(queue)
        moment = self._writer.moment(now)
        begun = self._queues.base_of_missing(queue, moment) if row is None else row.base_position
        generation = None if row is None else row.generation

        def work(connection: apsw.Connection) -> OpenLog | None:
            with snapshot(connection):
                found = connection.execute(GET_LOG, (queue.project, queue.name)).fetchone()
                if found is None:
                    return None
                log, version = found
                values = {"log": log, "generation": generation}
                last = int(connection.execute(LAST_ANNOUNCED, values).get)
            return OpenLog(str(version), Position(max(begun, last)))

        return self._reader.read(work)

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        def work(transaction: Transaction) -> bool:
            transaction.row(queue)
            log = transaction.log(queue)
            if log is None or str(log[1]) != version:
                return False
            transaction.close_log(queue)
            return True

        return await self._writer.run(work, now=now)

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        row = self._queues.row(queue)
        if row is None or row.log is None:
            return []
        return await page_of_log(self._reader, row.log, after, limit, self._writer.moment(now))

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        row = self._queues.row(queue)
        if row is None or row.log is None or not self._reader.read(_any(row.log, through)):
            return False

        def work(transaction: Transaction) -> bool:
            row = transaction.row(queue)
            if row is None or row.log is None:
                return False
            values = (row.log, row.log, through, TRIMMED_PER_STEP)
            gone = transaction.execute(TRIM_ANNOUNCEMENTS, values).fetchall()
            return len(gone) == TRIMMED_PER_STEP

        return await self._writer.run(work, now=now)


def _any(log: int, through: Position) -> Callable[[apsw.Connection], bool]:
    """Whether a trim has anything to do: an idle one writes nothing."""
    return lambda connection: connection.execute(ANY_ANNOUNCEMENT, (log, through)).get is not None


def announce(transaction: Transaction, row: QueueRow, first: int, last: int) -> None:
    """Keep what a post has just written at these positions."""
    transaction.execute(ANNOUNCE, (row.log, row.generation, first, last))


def load_announcements(
    transaction: Transaction, row: QueueRow, announced: Sequence[Message]
) -> None:
    """What another store's log held stands where it stood."""
    values = []
    for message in announced:
        key = parse_message_id(message.id)
        assert key is not None, "stored messages carry ids of ours"
        delayed = message.available_at > message.created_at
        values.append(
            (
                row.log,
                message.position,
                key[1],
                message.ttl,
                message.created_at,
                message.expires_at,
                message.available_at if delayed else None,
                message.poster,
                message.attributes,
                message.body,
            )
        )
    transaction.executemany(LOAD_ANNOUNCEMENT, values)


async def page_of_log(
    reader: Reader, log: int, after: Position, limit: int, now: Moment
) -> list[Message]:
    """Announcements by position; in a thread when many expired ones are in the way."""
    window = max(limit, WINDOW)
    values = {"generation": log, "after": after, "now": now, "limit": limit, "last": NO_END}

    def near(connection: apsw.Connection) -> tuple[list[Message], bool]:
        with snapshot(connection):
            last = connection.execute(ANNOUNCEMENTS_WINDOW, (log, after, window)).get
            if last is None:
                return _page(connection, values), True
            found = _page(connection, {**values, "last": last})
            return found, len(found) == limit

    found, whole = reader.read(near)
    return found if whole else await reader.scan(lambda connection: _page(connection, values))


def _page(connection: apsw.Connection, values: dict[str, int]) -> list[Message]:
    return [
        Message(
            id=message_id(position, salt),
            position=Position(position),
            body=body,
            ttl=Duration(ttl),
            created_at=Moment(created_at),
            expires_at=Moment(expires_at),
            available_at=Moment(created_at if available_at is None else available_at),
            poster=poster,
            attributes=attributes,
        )
        for (
            position,
            salt,
            ttl,
            created_at,
            expires_at,
            available_at,
            poster,
            attributes,
            body,
        ) in connection.execute(PAGE_ANNOUNCEMENTS, values)
    ]
