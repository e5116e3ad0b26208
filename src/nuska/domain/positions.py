"""Where a message stands in its queue, and the public id made from it.

A position is given in commit order inside the write, by a counter per queue that
never restarts under a name: it starts at (milliseconds since 2025-01-01) x 2**12 and
is never behind that, so a queue deleted and created again goes on above its old
positions. Positions stay below 2**53, which every JSON reader can hold.

A message id is 32 hexadecimal digits: 14 for the position at which the message was
posted, 18 random ones. A lookup by id is therefore one indexed read, and nobody can
guess an id. A message that moves keeps its id and gets a new position.
"""

from typing import NewType

from nuska.domain.moments import Moment

Position = NewType("Position", int)
MessageId = NewType("MessageId", str)
ClaimId = NewType("ClaimId", str)

COUNTER_EPOCH = Moment(1_735_689_600_000)
"""2025-01-01T00:00:00Z."""
COUNTER_SHIFT = 12
BEFORE_ALL = Position(0)
BEYOND_ALL = Position(2**53 - 1)
"""No message gets there."""

SALT_BYTES = 9
CLAIM_ID_BYTES = 12
CLAIM_RANDOM_BYTES = 8

_CLAIM_TIME_MASK = 2**32 - 1
"""Milliseconds of seven weeks."""
_POSITION_BYTES = 7
_POSITION_DIGITS = _POSITION_BYTES * 2
_SALT_DIGITS = SALT_BYTES * 2
_ID_DIGITS = _POSITION_DIGITS + _SALT_DIGITS
_CLAIM_DIGITS = CLAIM_ID_BYTES * 2
_HEX = frozenset("0123456789abcdef")
_MARKER_MAX_DIGITS = 16  # 2**53 has 16


def floor_at(now: Moment) -> Position:
    """The lowest position a message posted at ``now`` may get."""
    return Position(max(now - COUNTER_EPOCH, 1) << COUNTER_SHIFT)


def next_position(last: int, now: Moment) -> Position:
    """The position after ``last``, for a message posted at ``now``."""
    floor = max(now - COUNTER_EPOCH, 1) << COUNTER_SHIFT
    return Position(floor if floor > last else last + 1)


def message_id(position: int, salt: bytes) -> MessageId:
    """The public id of a message posted at ``position``."""
    return MessageId((position.to_bytes(_POSITION_BYTES) + salt).hex())


def parse_message_id(text: str) -> tuple[Position, bytes] | None:
    """Position and salt of an id, or None when ``text`` cannot be one of ours."""
    if len(text) != _ID_DIGITS:
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    if raw.hex() != text:  # blanks, or capitals
        return None
    return Position(int.from_bytes(raw[:_POSITION_BYTES])), raw[_POSITION_BYTES:]


def claim_id(random: bytes) -> ClaimId:
    """The public id of a claim: 24 hexadecimal digits."""
    return ClaimId(random.hex())


def new_claim_id(now: Moment, random: bytes) -> ClaimId:
    """An id for a claim that is made ``now``; ``random``: ``CLAIM_RANDOM_BYTES``, by which nobody
    guesses it. It begins with the time, so that claims that are made together stand together in a
    store's index, and writing them down touches few of its pages."""
    return claim_id((now & _CLAIM_TIME_MASK).to_bytes(CLAIM_ID_BYTES - len(random)) + random)


def parse_claim_id(text: str) -> bytes | None:
    """The bytes of a claim id, or None when ``text`` cannot be one of ours."""
    if len(text) != _CLAIM_DIGITS or not _HEX.issuperset(text):
        return None
    return bytes.fromhex(text)


def parse_marker(text: str) -> Position | None:
    """The position in a marker of ours (decimal text), or None."""
    if len(text) > _MARKER_MAX_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    return Position(int(text))
