"""How much a queue holds, counted by the server: no message leaves it."""

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.domain.queues import Measure
from nuska.stores.sql.tables import WAITS, messages, unindexed


async def stretch(
    connection: AsyncConnection, generation: int, after: Position, limit: int, now: Moment
) -> Measure:
    """Of at most ``limit`` messages by position, after ``after``."""
    size = func.octet_length(messages.c.body) + func.coalesce(
        func.octet_length(messages.c.attributes), 0
    )
    looked = (
        select(messages.c.position, messages.c.expires_at, size.label("size"))
        .where(messages.c.generation == generation, messages.c.position > after)
        .order_by(messages.c.position)
        .limit(limit)
        .subquery()
    )
    lives = looked.c.expires_at > now
    counted = select(
        func.count(),
        func.max(looked.c.position),
        func.count(case((lives, 1))),
        func.coalesce(func.sum(case((lives, looked.c.size))), 0),
    ).select_from(looked)
    rows, last, held, size_held = (await connection.execute(counted)).one()
    marker = Position(last) if rows == limit else None
    return Measure(messages=held, bytes=int(size_held), marker=marker)


async def claims_that_hold(connection: AsyncConnection, generation: int, now: Moment) -> int:
    counted = select(func.count(messages.c.claim.distinct())).where(
        messages.c.generation == generation,
        WAITS,
        messages.c.available_at > now,
        unindexed(messages.c.expires_at) > now,
    )
    return int((await connection.execute(counted)).scalar_one())
