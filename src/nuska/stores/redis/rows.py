"""A message as the functions keep it: a head of fixed size, and a body they never look into.

The head is what changes (and who posted it); ``library/content.lua`` packs it the same way.
The body is attributes, the reason of a dead letter, and the JSON as posted.
"""

from collections.abc import Sequence
from struct import Struct

from nuska.domain.messages import DeadLetter, Message, NewMessage
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import (
    CLAIM_ID_BYTES,
    SALT_BYTES,
    MessageId,
    Position,
    message_id,
    parse_claim_id,
    parse_message_id,
)

HEAD = Struct(">Q9sQQQQI13s")
NEW = Struct(">9sQQ")
BODY = Struct(">II")
REASON = Struct(">QIH")

NO_ATTRIBUTES = 2**32 - 1
FREE = bytes(1 + CLAIM_ID_BYTES)
HELD = b"\x01"
"""Before a claim's id, since every id is possible, that of noughts too."""


def place(position: int) -> str:
    """A position as the functions write it."""
    return f"{position:014x}"


def wanted(message_id: str) -> bytes | None:
    """A message id as the functions want it, or None when it cannot be one."""
    parsed = parse_message_id(message_id)
    return None if parsed is None else place(parsed[0]).encode() + parsed[1]


def held_by(claim_id: str) -> bytes | None:
    """A claim id as the functions want it, or None when it cannot be one."""
    parsed = parse_claim_id(claim_id)
    return None if parsed is None else HELD + parsed


def encode_new(message: NewMessage, salt: bytes) -> bytes:
    body = _body(message.body, message.attributes, b"")
    return NEW.pack(salt, message.ttl, message.delay) + body


def encode(message: Message) -> list[bytes | str]:
    """Place, head and body of a message as it was read."""
    parsed = parse_message_id(message.id)
    assert parsed is not None, "stored messages carry ids of ours"
    claim = FREE if message.claim_id is None else held_by(message.claim_id)
    assert claim is not None, "held messages carry claims of ours"
    head = HEAD.pack(
        parsed[0],
        parsed[1],
        message.ttl,
        message.created_at,
        message.expires_at,
        message.available_at,
        message.claim_count,
        claim,
    )
    reason = b""
    if message.dead is not None:
        dead = message.dead
        origin = dead.origin.encode()
        reason = REASON.pack(dead.at, dead.claim_count, len(origin))
        reason += origin + dead.reason.encode()
    body = _body(message.body, message.attributes, reason)
    return [place(message.position), head + message.poster, body]


def _body(body: bytes, attributes: bytes | None, reason: bytes) -> bytes:
    size = NO_ATTRIBUTES if attributes is None else len(attributes)
    return BODY.pack(size, len(reason)) + (attributes or b"") + reason + body


def decode(answer: Sequence[bytes], now: Moment) -> list[Message]:
    """Messages from places, heads and bodies; claims that are over are left out."""
    return [
        _message(int(answer[index], 16), answer[index + 1], answer[index + 2], now)
        for index in range(0, len(answer), 3)
    ]


def _message(position: int, head: bytes, kept: bytes, now: Moment) -> Message:
    posted, salt, ttl, created_at, ends, available_at, count, claim = HEAD.unpack_from(head)
    size, reason_size = BODY.unpack_from(kept)
    end = BODY.size + (0 if size == NO_ATTRIBUTES else size)
    held = available_at > now and claim != FREE
    return Message(
        id=message_id(posted, salt),
        position=Position(position),
        body=kept[end + reason_size :],
        ttl=Duration(ttl),
        created_at=Moment(created_at),
        expires_at=Moment(ends),
        available_at=Moment(available_at),
        claim_id=claim[1:].hex() if held else None,
        claim_count=count,
        poster=head[HEAD.size :],
        attributes=None if size == NO_ATTRIBUTES else kept[BODY.size : end],
        dead=_reason(kept[end : end + reason_size]) if reason_size else None,
    )


def _reason(text: bytes) -> DeadLetter:
    at, count, size = REASON.unpack_from(text)
    origin = text[REASON.size : REASON.size + size]
    reason = text[REASON.size + size :]
    return DeadLetter(
        origin=origin.decode(), reason=reason.decode(), claim_count=count, at=Moment(at)
    )


def ids_of_post(first: int, salts: bytes) -> list[MessageId]:
    """Ids of a post: consecutive positions from ``first``."""
    return [
        message_id(first + index, salts[index * SALT_BYTES : (index + 1) * SALT_BYTES])
        for index in range(len(salts) // SALT_BYTES)
    ]


def id_and_creation(head: bytes) -> tuple[str, Moment]:
    posted, salt, _, created_at, *_ = HEAD.unpack_from(head)
    return message_id(posted, salt), Moment(created_at)


assert NEW.size == SALT_BYTES + 16
