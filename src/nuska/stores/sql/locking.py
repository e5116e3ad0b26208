"""The row of a queue, and the two ways to lock it.

``sharing``: for what works on messages that exist. Any number may, beside one another and
beside posts. ``counting``: for what gives positions; one at a time, so that they follow
commit order. Purge, delete and fence exclude both, so that nothing is written into a generation
that is over, nor into a queue that is carried away: whoever has a lock sees the row as it is.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import QueueAway
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import floor_at
from nuska.domain.queues import Metadata
from nuska.stores.sql.database import Database
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.dialects.interface import Lock
from nuska.stores.sql.rows import QueueRow, encode
from nuska.stores.sql.tables import arrivals, deleted_queues, generations, logs, queues

KEPT_WITHIN = Duration(1_000)
"""A queue's last moment may be this much behind what was done in it: it is not worth a lock
that excludes others with every claim."""
CREATIONS_AT_MOST = 20
NO_GENERATION = 0
"""No generation has this number."""


def of(ref: QueueRef) -> tuple[bytes, bytes]:
    """Project and name as the tables have them."""
    return ref.project.encode(), ref.name.encode()


async def find(connection: AsyncConnection, ref: QueueRef, lock: Lock) -> QueueRow | None:
    """The queue, locked until the end of the transaction; None when there is none, and
    ``QueueAway`` when it is fenced."""
    row = await find_any(connection, ref, lock)
    if row is not None and row.fenced:
        raise QueueAway
    return row


async def find_any(connection: AsyncConnection, ref: QueueRef, lock: Lock) -> QueueRow | None:
    """The same, fenced or not."""
    return await dialect_of(connection).find(connection, *of(ref), lock)


async def find_at(
    connection: AsyncConnection, database: Database, ref: QueueRef, now: int
) -> tuple[QueueRow, int] | None:
    """The queue, locked for work on its messages, and the moment at which that happens."""
    row = await find(connection, ref, Lock.SHARING)
    if row is None:
        return None
    await relax(connection, row)
    moment = database.moment(max(now, row.last_moment))
    if moment > row.last_moment + KEPT_WITHIN and await _is_free(connection, row):
        await keep_moment(connection, [row.generation], moment)
    return row, moment


async def wait_for_turn(connection: AsyncConnection, row: QueueRow) -> None:
    """Take from this queue alone, until the end of the transaction.

    The lock is that of the generation's row: a purge, which writes there, waits for the queue.
    """
    turn = select(generations.c.id).where(generations.c.id == row.generation)
    await connection.execute(turn.with_for_update())


async def relax(connection: AsyncConnection, row: QueueRow) -> None:
    """Work in a relaxed queue is acknowledged before it is synced (D18)."""
    if row.relaxed:
        await dialect_of(connection).relax(connection)


async def _is_free(connection: AsyncConnection, row: QueueRow) -> bool:
    """Whether nobody else is writing to the queue's row; else that one keeps the moment."""
    held = select(queues.c.id).where(queues.c.id == row.id)
    held = held.with_for_update(key_share=True, skip_locked=True)
    return (await connection.execute(held)).first() is not None


async def keep_moment(
    connection: AsyncConnection, generations: Collection[int], moment: int
) -> None:
    """Let nothing happen in these queues before a moment that has left its mark on them."""
    await connection.execute(
        update(queues)
        .where(queues.c.generation.in_(generations), queues.c.last_moment < moment)
        .values(last_moment=moment)
    )


async def moment_since(
    connection: AsyncConnection, database: Database, row: QueueRow, moment: int
) -> Moment:
    """The moment of an operation once it has its locks. Whoever had them before may have made
    messages ready at a later one, and then this happens after that."""
    kept = await connection.execute(select(queues.c.last_moment).where(queues.c.id == row.id))
    return database.moment(max(moment, int(kept.scalar_one())))


async def find_or_create(
    connection: AsyncConnection, database: Database, ref: QueueRef, now: int
) -> QueueRow:
    """The queue, locked to be added to; created with empty metadata when nobody has."""
    for _ in range(CREATIONS_AT_MOST):
        row = await find(connection, ref, Lock.COUNTING)
        if row is None:
            row = await create(connection, database, ref, {}, relaxed=False, now=now)
        if row is not None:
            return row
    raise AssertionError("a queue is neither there nor can it be created")


async def create(
    connection: AsyncConnection,
    database: Database,
    ref: QueueRef,
    metadata: Metadata,
    *,
    relaxed: bool,
    now: int,
) -> QueueRow | None:
    """A queue above every position that its name ever had; None when it exists."""
    moment = database.moment(now)
    base = floor_at(moment) - 1
    generation = await new_generation(connection)
    row_id = await _insert(
        connection,
        ref,
        generation=generation,
        base_position=base,
        last_position=base,
        last_moment=moment,
        metadata=encode(metadata),
        relaxed=relaxed,
    )
    if row_id is None:
        await forget_generation(connection, generation)
        return None
    ended, heard = await _take_what_is_left(connection, ref)
    log = None if heard is None else await new_generation(connection)
    above = max(base, ended or 0, heard or 0)
    if above > base or log is not None:
        changes = {"base_position": above, "last_position": above, "log": log}
        await dialect_of(connection).change_queue(connection, row_id, changes)
    return QueueRow(
        row_id, generation, above, above, moment, relaxed, fenced=False, epoch=0, log=log
    )


async def hold_name(connection: AsyncConnection, ref: QueueRef) -> bool:
    """Let nobody make a queue of this name until the end of the transaction; False when there
    is one.

    A row that is never seen holds it: who inserts one of the same name waits for its fate.
    """
    row_id = await _insert(
        connection,
        ref,
        generation=NO_GENERATION,
        base_position=0,
        last_position=0,
        last_moment=0,
        metadata=b"",
        relaxed=False,
    )
    if row_id is None:
        return False
    await dialect_of(connection).delete_queue(connection, row_id)
    return True


async def _insert(connection: AsyncConnection, ref: QueueRef, **values: Any) -> int | None:
    project, name = of(ref)
    unchanged = {"project": project, "name": name, "version": 1, "fenced": False, "epoch": 0}
    return await dialect_of(connection).insert_queue(connection, unchanged | values)


async def _take_what_is_left(
    connection: AsyncConnection, ref: QueueRef
) -> tuple[int | None, int | None]:
    """Where the positions of a deleted queue of this name ended, and above which they go on
    because its announcement log is open. Asked once the row is there: who deleted the queue, or
    opened the log, has committed by then, and who would now waits for us."""
    project, name = of(ref)
    key = (deleted_queues.c.project == project, deleted_queues.c.name == name)
    ended = select(deleted_queues.c.last_position).where(*key)
    heard = select(logs.c.last_position).where(logs.c.project == project, logs.c.name == name)
    both = select(ended.scalar_subquery(), heard.scalar_subquery())
    left = (await connection.execute(both)).one()
    if left[0] is not None:
        await connection.execute(deleted_queues.delete().where(*key))
    return left[0], left[1]


async def new_generation(connection: AsyncConnection) -> int:
    """A generation that no row carries."""
    made = await connection.execute(insert(generations).values(retired=False))
    key = made.inserted_primary_key
    assert key is not None, "one row was inserted"
    return int(key[0])


async def forget_generation(connection: AsyncConnection, generation: int) -> None:
    """One that was just made, and that nothing carries; nor will anything carry its number."""
    await connection.execute(generations.delete().where(generations.c.id == generation))


async def retire(connection: AsyncConnection, *over: int | None) -> None:
    """Leave the rows of generations to the sweep."""
    ids = sorted(one for one in over if one is not None)
    await connection.execute(
        update(generations).where(generations.c.id.in_(ids)).values(retired=True)
    )


async def delete(connection: AsyncConnection, ref: QueueRef, row: QueueRow) -> None:
    """Remove a queue that is locked ``EXCLUDING``; its positions do not start again."""
    await retire(connection, row.generation, row.log)
    await dialect_of(connection).delete_queue(connection, row.id)
    await connection.execute(arrivals.delete().where(arrivals.c.queue == row.id))
    project, name = of(ref)
    if row.log is not None:  # it stays open, and outlasts what is written next
        own = (logs.c.project == project, logs.c.name == name)
        await connection.execute(update(logs).where(*own).values(last_position=row.last_position))
    await connection.execute(
        insert(deleted_queues).values(project=project, name=name, last_position=row.last_position)
    )


async def keep_counter(
    connection: AsyncConnection, row: QueueRow, last_position: int, moment: int
) -> None:
    """Write down the last position given, and when."""
    await connection.execute(
        update(queues)
        .where(queues.c.id == row.id)
        .values(last_position=last_position, last_moment=moment)
    )
