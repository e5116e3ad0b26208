"""Where a claim or a pop finds its messages: the first that are ready. On a server where takers
come in turn, each reads which these are without a lock, and then locks those and waits for them;
elsewhere each takes the first that nobody else has locked.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.limits import DUE_PER_CLAIM
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.locking import keep_moment
from nuska.stores.sql.rows import MESSAGE, AnyRow, MessageRow
from nuska.stores.sql.tables import IS_READY, READY, WAITS, messages

IN_LINE = "FORCE INDEX (messages_in_line)"
BY_POSITION = "FORCE INDEX (PRIMARY)"
"""Told to servers that lock every row that they look at, and might look along another index."""


async def make_due_ready(
    connection: AsyncConnection, generation: int, now: int, limit: int = DUE_PER_CLAIM
) -> list[int]:
    """Let waiting messages whose moment has come stand in line again; their ends."""
    due = (WAITS, messages.c.available_at <= now)
    columns = (messages.c.position, messages.c.expires_at)
    found = await _locked(connection, generation, columns, due, messages.c.available_at, limit)
    if not found:
        return []
    await connection.execute(
        update(messages)
        .with_hint(BY_POSITION, dialect_name="mysql")
        .where(
            messages.c.generation == generation,
            messages.c.position.in_([row.position for row in found]),
        )
        .values(available_at=READY, claim=None)
    )
    await keep_moment(connection, [generation], now)
    return [int(row.expires_at) for row in found]


async def candidates(
    connection: AsyncConnection, generation: int, now: int, limit: int, *, after: int = 0
) -> Sequence[MessageRow]:
    """Up to ``limit`` live ready messages behind a position, oldest first, locked."""
    ready = (
        IS_READY,
        messages.c.claim.is_(None),
        messages.c.position > after,
        messages.c.expires_at > now,
    )
    return await _locked(connection, generation, MESSAGE, ready, messages.c.position, limit)


async def _locked(
    connection: AsyncConnection,
    generation: int,
    columns: Sequence[Column[Any]],
    which: Sequence[ColumnElement[bool]],
    order: Column[Any],
    limit: int,
) -> Sequence[AnyRow]:
    """The first messages in an order, as they are once they are locked."""
    of_queue = (messages.c.generation == generation, *which)
    if not dialect_of(connection).takes_in_turn:
        first = select(*columns).where(*of_queue).order_by(order).limit(limit)
        return (await connection.execute(first.with_for_update(skip_locked=True))).all()
    places = select(messages.c.position).with_hint(messages, IN_LINE, "mysql").where(*of_queue)
    places = places.order_by(order).limit(limit)
    while positions := (await connection.execute(places)).scalars().all():
        own = select(*columns).with_hint(messages, BY_POSITION, "mysql")
        own = own.where(*of_queue, messages.c.position.in_(positions))
        own = own.order_by(messages.c.position).with_for_update()
        found = (await connection.execute(own)).all()
        if found:  # else they went meanwhile, and others are the first now
            return found
    return []
