"""Where a claim or a pop finds its messages: the first that are ready and that nobody else
has locked. Two that come at once do not wait for each other; each takes what the other leaves.
"""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.limits import DUE_PER_CLAIM
from nuska.stores.sql.locking import keep_moment
from nuska.stores.sql.rows import MESSAGE, MessageRow
from nuska.stores.sql.tables import IS_READY, READY, WAITS, messages

IN_LINE = "FORCE INDEX (messages_in_line)"
BY_POSITION = "FORCE INDEX (PRIMARY)"
"""Told to servers that lock every row that they look at, and might look along another index."""


async def make_due_ready(
    connection: AsyncConnection, generation: int, now: int, limit: int = DUE_PER_CLAIM
) -> list[int]:
    """Let waiting messages whose moment has come stand in line again; their ends."""
    due = (
        select(messages.c.position, messages.c.expires_at)
        .with_hint(messages, IN_LINE, "mysql")
        .where(
            messages.c.generation == generation,
            WAITS,
            messages.c.available_at <= now,
        )
        .order_by(messages.c.available_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = (await connection.execute(due)).all()
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
    connection: AsyncConnection,
    generation: int,
    now: int,
    limit: int,
    *,
    after: int = 0,
    last: int | None = None,
) -> Sequence[MessageRow]:
    """Up to ``limit`` live ready messages, oldest first, locked; between two positions."""
    wanted = (
        select(*MESSAGE)
        .with_hint(messages, IN_LINE, "mysql")
        .where(
            messages.c.generation == generation,
            IS_READY,
            messages.c.claim.is_(None),
            messages.c.position > after,
            messages.c.expires_at > now,
        )
        .order_by(messages.c.position)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    if last is not None:
        wanted = wanted.where(messages.c.position <= last)
    return (await connection.execute(wanted)).all()
