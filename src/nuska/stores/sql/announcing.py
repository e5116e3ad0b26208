"""Announcement logs: what was posted while somebody listened, in a table of its own.

That a log is open is written twice: by the name of its queue in ``logs``, and while the queue is
there in the queue's row, as the generation of what the log holds. Both change under the lock of
those who count, which posts have, and where no queue is, under its name: so a post either
committed before a log was opened, or sees that it is. Refuses to know who listens, and to take
anything away unasked: what has expired goes with the sweep, like a generation that is over.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import QueueAway
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position, floor_at, message_id
from nuska.interfaces.announcing import OpenLog
from nuska.stores.sql import locking
from nuska.stores.sql.choosing import BY_POSITION
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.loading import Values, key_of
from nuska.stores.sql.rows import AnyRow, QueueRow
from nuska.stores.sql.statements import Statement
from nuska.stores.sql.tables import READY, announcements, logs, messages, queues, unindexed

TRIMMED_AT_ONCE = 200


def _of_name(*columns: Any) -> Select[*tuple[Any, ...]]:
    """The row of a queue's name, in the table of these columns."""
    table = queues if columns[0].table is queues else logs
    return select(*columns).where(
        table.c.project == bindparam("project"), table.c.name == bindparam("name")
    )


def _page() -> Select[*tuple[Any, ...]]:
    """A page of the log beside what its queue is like. The log is named by a sub-select of its
    own, so that the index gives the order and the limit ends the reading."""
    now = bindparam("now", type_=BigInteger)
    end = unindexed(announcements.c.expires_at)
    listed = select(announcements).with_hint(announcements, BY_POSITION, "mysql")
    listed = listed.where(
        announcements.c.generation == _of_name(queues.c.log).scalar_subquery(),
        announcements.c.position > bindparam("after"),
        end > _of_name(queues.c.last_moment).scalar_subquery(),
        end > now,
    )
    listed = listed.order_by(announcements.c.position)
    page = listed.limit(bindparam("most", type_=BigInteger)).subquery("page")
    queue = _of_name(queues.c.fenced, queues.c.last_moment).subquery("queue")
    return select(queue, page).select_from(queue.outerjoin(page, true()))


PAGE = _page()
STATE = select(
    _of_name(queues.c.fenced).scalar_subquery().label("fenced"),
    _of_name(logs.c.version).scalar_subquery().label("version"),
    func.coalesce(
        _of_name(queues.c.last_position).scalar_subquery(),
        _of_name(logs.c.last_position).scalar_subquery(),
    ).label("last_position"),
)


class SqlAnnouncements:
    """``AnnouncementStore`` on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looking = Statement(database, STATE)
        self._paging = Statement(database, PAGE)

    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        moment = self._database.moment(now)

        async def work(connection: AsyncConnection) -> OpenLog:
            row = await _hold(connection, queue)
            last = floor_at(moment) - 1 if row is None else row.last_position
            number = await locking.new_generation(connection)
            heard = await open_log(connection, queue, number, last)
            if row is not None and row.log is None:
                await _name_log(connection, row, number)
            else:
                await locking.forget_generation(connection, number)
            return OpenLog(str(number), Position(heard if row is None else last))

        return await self._database.write(work)

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        self._database.moment(now)
        project, name = locking.of(queue)
        [seen] = await self._looking.rows({"project": project, "name": name})
        if seen.fenced:
            raise QueueAway
        if seen.version is None:
            return None
        return OpenLog(seen.version.decode(), Position(seen.last_position))

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> bool:
            row = await _hold(connection, queue)
            if not await close_log(connection, queue, version):
                return False
            if row is not None and row.log is not None:
                await locking.retire(connection, row.log)
                await _name_log(connection, row, None)
            return True

        return await self._database.write(work)

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        return await self._page(queue, after, limit, now, carried=False)

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        """The same for who carries the queue, fenced or not."""
        return await self._page(queue, after, limit, now, carried=True)

    async def _page(
        self, queue: QueueRef, after: Position, limit: int, now: Moment, *, carried: bool
    ) -> list[Message]:
        project, name = locking.of(queue)
        values = {
            "project": project,
            "name": name,
            "after": after,
            "most": limit,
            "now": self._database.moment(now),
        }
        rows = await self._paging.rows(values)
        if rows:
            if rows[0].fenced and not carried:
                raise QueueAway
            self._database.moment(rows[0].last_moment)
        found = [row for row in rows if row.position is not None]
        return [_message_of(row) for row in sorted(found, key=lambda row: int(row.position))]

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        self._database.moment(now)

        async def work(connection: AsyncConnection) -> bool:
            # Beside posts, but not behind a fence. A log that is closed meanwhile is nobody's.
            await locking.find(connection, queue, Lock.SHARING)
            own = announcements.c.generation
            last = select(announcements.c.position).with_hint(announcements, BY_POSITION, "mysql")
            last = last.where(own == queues.c.log, announcements.c.position <= through)
            last = last.order_by(announcements.c.position)
            last = last.offset(TRIMMED_AT_ONCE - 1).limit(1).correlate(queues)
            wanted = select(queues.c.log, last.scalar_subquery()).where(*_at(queues, queue))
            found = (await connection.execute(wanted)).one_or_none()
            if found is None or found[0] is None:
                return False
            log, end = found
            old = (own == log, announcements.c.position <= (through if end is None else end))
            await connection.execute(delete(announcements).where(*old))
            return end is not None

        return await self._database.write(work)


async def open_log(connection: AsyncConnection, ref: QueueRef, number: int, last: int) -> int:
    """Write down that the log is open, for who holds the queue or its name; above which position
    everything will stand that is posted, if nobody makes or made the queue. Its version is the
    number of a new generation, whether or not that is used, since no other ever has it."""
    version = str(number)
    own = _at(logs, ref)
    change = update(logs).where(*own).values(version=version.encode())
    if (await connection.execute(change)).rowcount == 1:
        heard = select(logs.c.last_position).where(*own)
        return int((await connection.execute(heard)).scalar_one())
    project, name = locking.of(ref)
    row = {"project": project, "name": name, "version": version.encode(), "last_position": last}
    await connection.execute(insert(logs).values(row))
    return last


async def close_log(connection: AsyncConnection, ref: QueueRef, version: str | None = None) -> bool:
    """Write down that the log is not open; False when it is not, or has another version."""
    gone = delete(logs).where(*_at(logs, ref))
    if version is not None:
        gone = gone.where(logs.c.version == version.encode())
    return (await connection.execute(gone)).rowcount == 1


async def log_newest(
    connection: AsyncConnection, generation: int, log: int, first: int, last: int
) -> None:
    """Announce what this transaction has posted at these positions."""
    names = [column.name for column in announcements.c]
    ready = messages.c.available_at == READY
    posted: dict[str, ColumnElement[Any]] = {name: messages.c[name] for name in names}
    posted["generation"] = literal(log, BigInteger).label("generation")
    posted["available_at"] = case((ready, messages.c.created_at), else_=messages.c.available_at)
    newest = select(*posted.values()).with_hint(messages, BY_POSITION, "mysql")
    newest = newest.where(
        messages.c.generation == generation, messages.c.position.between(first, last)
    )
    await connection.execute(insert(announcements).from_select(names, newest))


def columns_of_announcement(log: int, message: Message) -> Values:
    _, salt = key_of(message)
    return {
        "generation": log,
        "position": message.position,
        "salt": salt,
        "body": message.body,
        "poster": message.poster,
        "ttl": message.ttl,
        "created_at": message.created_at,
        "expires_at": message.expires_at,
        "available_at": message.available_at,
        "attributes": message.attributes,
    }


async def _hold(connection: AsyncConnection, ref: QueueRef) -> QueueRow | None:
    """The queue, locked to be added to; None when there is none, nor will be until the end of
    the transaction."""
    for _ in range(locking.CREATIONS_AT_MOST):
        row = await locking.find(connection, ref, Lock.COUNTING)
        if row is not None or await locking.hold_name(connection, ref):
            return row
    raise AssertionError("a queue is neither there nor can it be created")


async def _name_log(connection: AsyncConnection, row: QueueRow, log: int | None) -> None:
    await connection.execute(update(queues).where(queues.c.id == row.id).values(log=log))


def _at(table: Any, ref: QueueRef) -> Sequence[ColumnElement[bool]]:
    """The row of a queue's name, in a table by names."""
    project, name = locking.of(ref)
    return table.c.project == project, table.c.name == name


def _message_of(row: AnyRow) -> Message:
    return Message(
        id=message_id(row.position, row.salt),
        position=Position(row.position),
        body=row.body,
        ttl=Duration(row.ttl),
        created_at=Moment(row.created_at),
        expires_at=Moment(row.expires_at),
        available_at=Moment(row.available_at),
        poster=row.poster,
        attributes=row.attributes,
    )
