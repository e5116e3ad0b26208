"""Up to where somebody has been told of a queue's messages, as live connections show it.

A plain marker is a position: everything up to it has been passed on. While delayed messages are
waiting to become due that is not enough, since they are passed on after others that stand behind
them: the marker then also says up to which moment, and at that moment up to which position, they
have been. Its text is for clients to give back, and not to be read.
"""

from msgspec import Struct

from nuska.domain.moments import LAST_MOMENT, Moment
from nuska.domain.positions import BEYOND_ALL, Position, parse_marker, parse_message_id

MAX_MARKER = 64
"""Characters; a message's id is the longest that is understood."""
_MAX_DIGITS = 16


class Marker(Struct, frozen=True, gc=False):
    """A place in what a queue tells: everything up to ``position`` was passed on, but for what
    was delayed and became due after ``due``; of what became due at that very moment, only what
    stands at or before ``tie`` was."""

    position: Position
    due: Moment = LAST_MOMENT
    tie: Position = BEYOND_ALL

    @property
    def is_plain(self) -> bool:
        """Nothing up to the position is still to come."""
        return self.due == LAST_MOMENT

    def __str__(self) -> str:
        if self.due == LAST_MOMENT:
            return str(self.position)
        if self.tie == BEYOND_ALL:
            return f"{self.position}.{self.due}"
        return f"{self.position}.{self.due}.{self.tie}"


def parse_live_marker(text: str) -> Marker | None:
    """What ``str`` of a marker says, the marker of a listing, or after the message whose id it
    is; None when it can be none of these."""
    if len(text) > MAX_MARKER:
        return None
    posted = parse_message_id(text)
    if posted is not None:
        return Marker(posted[0])
    first, *more = text.split(".")
    position = parse_marker(first)
    if position is None or len(more) > 2 or not all(map(_is_number, more)):
        return None
    if not more:
        return Marker(position)
    due = Moment(min(int(more[0]), LAST_MOMENT - 1))
    return Marker(position, due, BEYOND_ALL if len(more) == 1 else Position(int(more[1])))


def _is_number(text: str) -> bool:
    return 0 < len(text) <= _MAX_DIGITS and text.isascii() and text.isdigit()
