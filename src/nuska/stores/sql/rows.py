"""Rows as domain records, and the columns that make them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Row

from nuska.domain.messages import DeadLetter, Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position, message_id
from nuska.domain.queues import Metadata, Queue
from nuska.stores.sql.tables import messages, queues

MESSAGE = tuple(messages.c[name] for name in messages.c.keys() if name != "generation")  # noqa: SIM118
"""The columns of a message, in the order of the table."""
VERSION_SHIFT = 32

_decode_metadata = msgspec.json.Decoder(Metadata).decode
_decode_dead = msgspec.json.Decoder(DeadLetter).decode
encode = msgspec.json.Encoder().encode

AnyRow = Row[*tuple[Any, ...]]
MessageRow = AnyRow


class QueueRow(NamedTuple):
    """A queue as a transaction found it."""

    id: int
    generation: int
    base_position: int
    last_position: int
    last_moment: int
    relaxed: bool
    fenced: bool
    epoch: int
    log: int | None
    """The generation of its announcement log while that is open, for who has the queue locked
    to count or to exclude. For others it may be out of date, or missing."""


QUEUE_ROW = tuple(queues.c[name] for name in QueueRow._fields)


def id_of(position: int, salt: bytes, posted_position: int | None) -> MessageId:
    """The public id of a row."""
    return message_id(position if posted_position is None else posted_position, salt)


def message_of(row: MessageRow, now: int) -> Message:
    """A row as a message; a claim or delay that is over at ``now`` does not show.

    ``available_at`` of a message that waits for nothing is its creation.
    """
    waits = row.available_at > now
    return Message(
        id=id_of(row.position, row.salt, row.posted_position),
        position=Position(row.position),
        body=row.body,
        ttl=Duration(row.ttl),
        created_at=Moment(row.created_at),
        expires_at=Moment(row.expires_at),
        available_at=Moment(row.available_at if waits else row.created_at),
        claim_id=row.claim.hex() if waits and row.claim is not None else None,
        claim_count=row.claim_count,
        poster=row.poster,
        attributes=row.attributes,
        dead=_decode_dead(row.dead) if row.dead is not None else None,
    )


def messages_of(rows: Sequence[MessageRow], now: int) -> list[Message]:
    return [message_of(row, now) for row in rows]


def version_of(row_id: int, version: int) -> int:
    """A version that no later queue of the name has either: the row's number leads it."""
    return (row_id << VERSION_SHIFT) + version


def queue_of(ref: QueueRef, row: AnyRow) -> Queue:
    """A row of the table of queues as a queue."""
    metadata: Metadata = _decode_metadata(row.metadata)
    return Queue(
        ref=ref,
        metadata=metadata,
        relaxed=bool(row.relaxed),
        version=version_of(row.id, row.version),
    )
