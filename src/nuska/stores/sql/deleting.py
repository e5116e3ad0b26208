"""Deleting messages: where each stands, who may, and the removal itself.

Messages are locked by position, so that two bulk deletes seldom wait for each other.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.messages import DeleteOutcome
from nuska.domain.positions import parse_claim_id
from nuska.stores.sql.moving import IN_ONE_STATEMENT, MessageKey, places_moved_to, remove
from nuska.stores.sql.rows import AnyRow
from nuska.stores.sql.tables import claims, messages

MOVES_AT_MOST = 5
"""How often a message is followed that moves while somebody deletes it."""


async def delete_one(
    connection: AsyncConnection, generation: int, key: MessageKey, claim_id: str | None, now: int
) -> DeleteOutcome:
    """Delete a message if it is free or held by ``claim_id`` (contract http-v2 §3.5)."""
    rows = await _locked(connection, generation, [key], now)
    if not rows:
        return DeleteOutcome.MISSING
    refusal = await _refusal(connection, generation, _holder(rows[0], now), claim_id, now)
    if refusal is not None:
        return refusal
    await _remove(connection, generation, rows)
    return DeleteOutcome.DELETED


async def delete_many(
    connection: AsyncConnection,
    generation: int,
    keys: Sequence[MessageKey],
    named: Collection[bytes] | None,
    now: int,
) -> bool:
    """Delete those messages that exist; with ``named``, False and nothing done if one of them
    is in none of those claims."""
    rows = await _locked(connection, generation, keys, now)
    if named is not None and any(_holder(row, now) not in named for row in rows):
        return False
    await _remove(connection, generation, rows)
    return True


async def _remove(connection: AsyncConnection, generation: int, rows: Sequence[AnyRow]) -> None:
    places = [(row.position, row.posted_position, row.salt) for row in rows]
    await remove(connection, generation, places)


async def _locked(
    connection: AsyncConnection, generation: int, keys: Sequence[MessageKey], now: int
) -> list[AnyRow]:
    """The live messages of ``keys``, wherever they stand, locked.

    Those that are not where they were posted have moved, or move while we wait for them.
    """
    found: dict[MessageKey, AnyRow] = {}
    places = {key: key[0] for key in keys}
    for _ in range(MOVES_AT_MOST):
        for row in await _lock(connection, generation, sorted(set(places.values())), now):
            if _key(row) in places:
                found[_key(row)] = row
        missing = [key for key in places if key not in found]
        elsewhere = await places_moved_to(connection, generation, missing)
        places = {
            key: elsewhere[key]
            for key in missing
            if key in elsewhere and elsewhere[key] != places[key]
        }
        if not places:
            break
    return list(found.values())


async def _lock(
    connection: AsyncConnection, generation: int, places: Sequence[int], now: int
) -> list[AnyRow]:
    found: list[AnyRow] = []
    columns = messages.c
    for start in range(0, len(places), IN_ONE_STATEMENT):
        rows = await connection.execute(
            select(
                columns.position,
                columns.posted_position,
                columns.salt,
                columns.available_at,
                columns.claim,
            )
            .where(
                columns.generation == generation,
                columns.position.in_(places[start : start + IN_ONE_STATEMENT]),
                columns.expires_at > now,
            )
            .order_by(columns.position)
            .with_for_update()
        )
        found += rows
    return found


def _key(row: AnyRow) -> MessageKey:
    posted = row.position if row.posted_position is None else row.posted_position
    return posted, row.salt


def _holder(row: AnyRow, now: int) -> bytes | None:
    """The live claim that a message is in."""
    claim: bytes | None = row.claim
    return claim if row.available_at > now else None


async def _refusal(
    connection: AsyncConnection,
    generation: int,
    held_by: bytes | None,
    claim_id: str | None,
    now: int,
) -> DeleteOutcome | None:
    """Why a message must not be deleted (contract http-v2 §3.5), or None if it may."""
    if claim_id is None:
        return None if held_by is None else DeleteOutcome.CLAIMED
    named = parse_claim_id(claim_id)
    if named is None:
        return DeleteOutcome.CLAIM_GONE
    if held_by == named:
        return None
    live = await connection.execute(
        select(claims.c.claim).where(
            claims.c.generation == generation,
            claims.c.claim == named,
            claims.c.expires_at > now,
        )
    )
    if live.one_or_none() is None:
        return DeleteOutcome.CLAIM_GONE
    return DeleteOutcome.NOT_CLAIMED if held_by is None else DeleteOutcome.OTHER_CLAIM
