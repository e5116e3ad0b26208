"""Messages that stand elsewhere than where they were posted: found by the id they keep."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.tables import messages, moved

IN_ONE_STATEMENT = 5_000
"""Values; a statement has room for some thirty thousand."""

MessageKey = tuple[int, bytes]
"""Position and salt, as a message's id names them."""
Place = tuple[int, int | None, bytes]
"""Where a message stands, where it was posted if elsewhere, and its salt."""


async def places_moved_to(
    connection: AsyncConnection, generation: int, keys: Sequence[MessageKey]
) -> dict[MessageKey, int]:
    """Where those of ``keys`` stand that have moved."""
    found: dict[MessageKey, int] = {}
    for start in range(0, len(keys), IN_ONE_STATEMENT):
        wanted = [key[0] for key in keys[start : start + IN_ONE_STATEMENT]]
        rows = await connection.execute(
            select(moved.c.posted_position, moved.c.salt, moved.c.position).where(
                moved.c.generation == generation, moved.c.posted_position.in_(wanted)
            )
        )
        found.update({(row.posted_position, row.salt): row.position for row in rows})
    return found


async def remember(
    connection: AsyncConnection, generation: int, key: MessageKey, position: int
) -> None:
    """Make a message findable by the id it was posted with."""
    where = {"generation": generation, "posted_position": key[0], "salt": key[1]}
    await connection.execute(dialect_of(connection).upsert(moved, where, {"position": position}))


async def forget(
    connection: AsyncConnection, rows: Collection[tuple[int, int | None, bytes]]
) -> None:
    """Messages are gone: generation, posted position if they had moved, salt."""
    gone = [row for row in rows if row[1] is not None]
    if gone:
        key = (moved.c.generation, moved.c.posted_position, moved.c.salt)
        which = dialect_of(connection).is_one_of(key, gone)
        await connection.execute(delete(moved).where(which))


async def remove(connection: AsyncConnection, generation: int, places: Sequence[Place]) -> None:
    """Take messages away, with what makes those that have moved findable."""
    for start in range(0, len(places), IN_ONE_STATEMENT):
        part = places[start : start + IN_ONE_STATEMENT]
        await connection.execute(
            delete(messages).where(
                messages.c.generation == generation,
                messages.c.position.in_([place[0] for place in part]),
            )
        )
        await forget(connection, [(generation, posted, salt) for _, posted, salt in part])
