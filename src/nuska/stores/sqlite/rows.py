"""Rows as domain records."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import apsw
import msgspec

from nuska.collector import unwatched
from nuska.domain.messages import DeadLetter, Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position, message_id
from nuska.domain.queues import Metadata, Queue

# position, salt, posted_position, body, poster, ttl, created_at, expires_at,
# available_at, claim, claim_count, attributes, dead
MessageRow = tuple[
    int,
    bytes,
    int | None,
    bytes,
    bytes,
    int,
    int,
    int,
    int | None,
    bytes | None,
    int,
    bytes | None,
    bytes | None,
]


def message_rows(cursor: apsw.Cursor) -> list[MessageRow]:
    """What a query of these columns found; the library cannot know their types."""
    return cast(list[MessageRow], cursor.fetchall())


_decode_metadata = msgspec.json.Decoder(Metadata).decode
_decode_dead = msgspec.json.Decoder(DeadLetter).decode
encode_dead = msgspec.json.Encoder().encode


def id_of(position: int, salt: bytes, posted_position: int | None) -> MessageId:
    """The public id of a row."""
    return message_id(position if posted_position is None else posted_position, salt)


def message_of(row: MessageRow, now: int) -> Message:
    """A row as a message; a claim or delay that is over at ``now`` does not show.

    ``available_at`` of a message that waits for nothing is its creation.
    """
    (
        position,
        salt,
        posted_position,
        body,
        poster,
        ttl,
        created_at,
        expires_at,
        available_at,
        claim,
        claim_count,
        attributes,
        dead,
    ) = row
    waits = available_at is not None and available_at > now
    return Message(
        id=message_id(position if posted_position is None else posted_position, salt),
        position=Position(position),
        body=body,
        ttl=Duration(ttl),
        created_at=Moment(created_at),
        expires_at=Moment(expires_at),
        available_at=Moment(available_at if waits and available_at is not None else created_at),
        claim_id=claim.hex() if waits and claim is not None else None,
        claim_count=claim_count,
        poster=poster,
        attributes=attributes,
        dead=_decode_dead(dead) if dead is not None else None,
    )


def claimed_messages(rows: Sequence[MessageRow], claim_id: str, end: Moment) -> list[Message]:
    """Rows as messages of a claim that has just taken them, until ``end``."""
    return [
        Message(
            id=message_id(row[0] if row[2] is None else row[2], row[1]),
            position=Position(row[0]),
            body=row[3],
            ttl=Duration(row[5]),
            created_at=Moment(row[6]),
            expires_at=Moment(row[7]),
            available_at=end,
            claim_id=claim_id,
            claim_count=row[10] + 1,
            poster=row[4],
            attributes=row[11],
            dead=None if row[12] is None else _decode_dead(row[12]),
        )
        for row in rows
    ]


class Unmarked(NamedTuple):
    """The claims of a queue whose messages are not marked (unmarked.py)."""

    claims: int
    messages: int
    """Of all of them, when they were made."""
    last: int
    """What is ready up to this position and alive is in one of them."""
    end: int
    """None of them ends before this moment."""


class QueueRow:
    """A queue as the store keeps it in memory while it is in use.

    A change makes a new object, so that a transaction that fails leaves the old one as it
    was; but for two things. ``last_position`` only grows, and skipping positions does no harm.
    ``ready_from`` may be too low at any time.
    """

    __slots__ = (
        "base_position",
        "epoch",
        "fenced",
        "generation",
        "id",
        "last_position",
        "log",
        "mark_until",
        "queue",
        "ready_from",
        "unmarked",
    )

    def __init__(
        self,
        row_id: int,
        generation: int,
        base_position: int,
        last_position: int,
        queue: Queue,
        fenced: bool = False,
        epoch: int = 0,
        log: int | None = None,
    ) -> None:
        self.id = row_id
        self.generation = generation
        self.base_position = base_position
        self.last_position = last_position
        self.queue = queue
        self.fenced = fenced
        self.epoch = epoch
        self.log = log
        """The generation of its announcement log, while that is open."""
        self.ready_from = 0
        """Every ready message below this position has expired, or is in one of ``unmarked``: claims
        begin here, so that a backlog that expired or is claimed at the head is walked over once
        and not by every claim."""
        self.unmarked: Unmarked | None = None
        self.mark_until = 0
        """Until this moment claims mark their messages at once, since somebody looks at them."""

    @property
    def begins_at(self) -> int:
        """No message below this position can be claimed."""
        if self.unmarked is None:
            return self.ready_from
        return max(self.ready_from, self.unmarked.last + 1)

    def in_generation(self, generation: int) -> "QueueRow":
        """The same queue at the start of another generation."""
        last = self.last_position
        row = QueueRow(self.id, generation, last, last, self.queue)
        row.fenced, row.epoch, row.log = self.fenced, self.epoch, self.log
        return row

    def with_log(self, log: int | None) -> "QueueRow":
        """The same queue with another announcement log, or none."""
        row = self._same(self.queue)
        row.log = log
        return row

    def with_queue(self, queue: Queue) -> "QueueRow":
        """The same queue with other metadata."""
        return self._same(queue)

    def with_ready_from(self, position: int) -> "QueueRow":
        """The same queue, seen to have nothing but expired messages ready below."""
        row = self._same(self.queue)
        row.ready_from = position
        return row

    def with_unmarked(self, unmarked: Unmarked | None, mark_until: int | None = None) -> "QueueRow":
        """The same queue with other claims whose messages are not marked."""
        row = self._same(self.queue)
        row.unmarked = unmarked
        if mark_until is not None:
            row.mark_until = mark_until
        return row

    def with_fence(self, fenced: bool, epoch: int) -> "QueueRow":
        """The same queue, fenced or not."""
        row = self._same(self.queue)
        row.fenced, row.epoch = fenced, epoch
        return row

    def became_ready(self, position: int) -> None:
        """A message stands in line again, at a position that it had before."""
        assert self.unmarked is None, "what is ready below their last message would be theirs"
        if position < self.ready_from:
            self.ready_from = position

    def _same(self, queue: Queue) -> "QueueRow":
        row = QueueRow(self.id, self.generation, self.base_position, self.last_position, queue)
        row.ready_from = self.ready_from
        row.unmarked, row.mark_until = self.unmarked, self.mark_until
        row.fenced, row.epoch, row.log = self.fenced, self.epoch, self.log
        return row


def queue_of(ref: QueueRef, metadata: bytes, relaxed: int, version: int) -> Queue:
    """A row's columns as a queue."""
    decoded: Metadata = unwatched(_decode_metadata, metadata)
    return Queue(ref=ref, metadata=decoded, relaxed=bool(relaxed), version=version)
