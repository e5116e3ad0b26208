"""Where a claim or a pop finds its messages: the first that are ready and that nobody else
has locked. Two that come at once do not wait for each other; each takes what the other leaves.
"""

from collections.abc import Sequence

from sqlalchemy import select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.limits import DUE_PER_CLAIM
from nuska.stores.sql.locking import keep_moment
from nuska.stores.sql.rows import MESSAGE, MessageRow
from nuska.stores.sql.tables import READY, messages

KEY = tuple_(messages.c.generation, messages.c.position)


async def make_due_ready(
    connection: AsyncConnection, generation: int, now: int, limit: int = DUE_PER_CLAIM
) -> list[int]:
    """Let waiting messages whose moment has come stand in line again; their ends."""
    due = (
        select(messages.c.generation, messages.c.position)
        .where(
            messages.c.generation == generation,
            messages.c.available_at > READY,
            messages.c.available_at <= now,
        )
        .order_by(messages.c.available_at, messages.c.position)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = await connection.execute(
        update(messages)
        .where(KEY.in_(due))
        .values(available_at=READY, claim=None)
        .returning(messages.c.expires_at)
    )
    ends = [int(end) for end in found.scalars()]
    if ends:
        await keep_moment(connection, [generation], now)
    return ends


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
        .where(
            messages.c.generation == generation,
            messages.c.available_at == READY,
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
