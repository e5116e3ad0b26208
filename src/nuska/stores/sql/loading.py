"""Rows of a queue that was carried here, each in place of what has the same key.

They are put beside what is there by deleting and inserting, which is as good as one statement in
a queue that only its carrier can change.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.messages import Message
from nuska.domain.positions import SALT_BYTES, MessageId, message_id, parse_claim_id
from nuska.domain.positions import parse_message_id as parse
from nuska.interfaces.pooling import Lease, RememberedPost
from nuska.stores.sql.dialects import dialect_of
from nuska.stores.sql.moving import MessageKey, Place, places_moved_to, remove
from nuska.stores.sql.rows import encode
from nuska.stores.sql.tables import READY, delays_ending, messages, moved

ROWS_AT_ONCE = 500
BYTES_AT_ONCE = 4 * 1024 * 1024
"""Loaded in one transaction, which is then short, and within what a statement may have."""

Values = dict[str, Any]


def pieces(of: Sequence[Message]) -> Iterator[list[Message]]:
    """Messages by what goes into one transaction; once none, if there are none."""
    piece: list[Message] = []
    size = 0
    for message in of:
        length = len(message.body) + len(message.attributes or b"")
        if piece and (len(piece) == ROWS_AT_ONCE or size + length > BYTES_AT_ONCE):
            yield piece
            piece, size = [], 0
        piece.append(message)
        size += length
    yield piece


async def put(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> None:
    """Rows in place of those with the same keys."""
    if not rows:
        return
    key = list(table.primary_key.columns)
    taken = sorted({tuple(row[column.name] for column in key) for row in rows})
    which = dialect_of(connection).is_one_of(key, taken)
    await connection.execute(delete(table).where(which))
    await connection.execute(insert(table), rows)


async def put_messages(
    connection: AsyncConnection, generation: int, loaded: Sequence[Message], now: int
) -> None:
    """Messages stand where they stood, in the state they were in."""
    if not loaded:
        return
    keys = {key_of(message): message for message in loaded}
    same = await standing(connection, generation, keys, {one.position for one in loaded})
    await remove(connection, generation, same)
    await connection.execute(
        insert(messages), [_columns(generation, message, now) for message in loaded]
    )
    places = [
        {
            "generation": generation,
            "posted_position": posted,
            "salt": salt,
            "position": message.position,
        }
        for (posted, salt), message in keys.items()
        if posted != message.position
    ]
    await put(connection, moved, places)
    # Those that are claimed too: their claim may end before they are here.
    ends = sorted({one.available_at for one in loaded if one.available_at > now})
    rows = [{"available_at": end, "generation": generation} for end in ends]
    await put(connection, delays_ending, rows)


async def standing(
    connection: AsyncConnection,
    generation: int,
    keys: Collection[MessageKey],
    positions: Collection[int] = (),
) -> list[Place]:
    """Where the messages of these ids stand, and what stands at these positions."""
    elsewhere = await places_moved_to(connection, generation, list(keys))
    wanted = {key[0] for key in keys} | set(elsewhere.values()) | set(positions)
    columns = messages.c
    rows = await connection.execute(
        select(columns.position, columns.posted_position, columns.salt).where(
            columns.generation == generation, columns.position.in_(sorted(wanted))
        )
    )
    found = []
    for position, posted, salt in rows:
        key = (position if posted is None else posted, salt)
        if position in positions or key in keys:
            found.append((position, posted, salt))
    return found


def key_of(message: Message) -> MessageKey:
    key = parse(message.id)
    assert key is not None, "stored messages carry ids of ours"
    return key


def _columns(generation: int, message: Message, now: int) -> Values:
    posted, salt = key_of(message)
    waits = message.available_at > now
    claim = parse_claim_id(message.claim_id) if waits and message.claim_id else None
    return {
        "generation": generation,
        "position": message.position,
        "salt": salt,
        "posted_position": None if posted == message.position else posted,
        "body": message.body,
        "poster": message.poster,
        "ttl": message.ttl,
        "created_at": message.created_at,
        "expires_at": message.expires_at,
        "available_at": message.available_at if waits else READY,
        "claim": claim,
        "claim_count": message.claim_count,
        "attributes": message.attributes,
        "dead": None if message.dead is None else encode(message.dead),
    }


def columns_of_lease(generation: int, lease: Lease) -> Values:
    return {
        "generation": generation,
        "claim": parse_claim_id(lease.claim_id),
        "ttl": lease.ttl,
        "started_at": lease.started_at,
        "expires_at": lease.expires_at,
    }


def columns_of_post(queue: int, post: RememberedPost) -> Values:
    keys = [key for key in map(parse, post.ids) if key is not None]
    return {
        "queue": queue,
        "key": post.key.encode(),
        "fingerprint": post.fingerprint,
        "first_position": keys[0][0] if keys else 0,
        "salts": b"".join(salt for _, salt in keys),
        "expires_at": post.until,
    }


def ids_of_post(first: int, salts: bytes) -> list[MessageId]:
    """The ids of a remembered post: consecutive positions, a salt each."""
    return [
        message_id(first + at, salts[at * SALT_BYTES : (at + 1) * SALT_BYTES])
        for at in range(len(salts) // SALT_BYTES)
    ]
