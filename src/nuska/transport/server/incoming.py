"""What a client sends, cut into WebSocket frames.

Nearly every frame is a whole message: that is read here, in a fraction of the time that a
general parser takes. Whatever else comes (pings, closes, messages in pieces, compressed ones,
frames that are malformed or too large) is given to the library as it came; it knows the rules.
"""

from websockets.frames import Frame
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the library was built without
    from websockets.utils import apply_mask

_WHOLE_TEXT = 0x81
_WHOLE = (_WHOLE_TEXT, 0x82)
"""The first byte of a message in one frame: of text, and of a binary one."""
_FINAL, _MASKED = 0x80, 0x80
_OPCODE, _LENGTH = 0x0F, 0x7F
_TWO_BYTES, _EIGHT_BYTES = 126, 127
"""Instead of a length: it follows, in so many."""
_MASK_BYTES = 4
_SHORTEST_HEAD, _LONGEST_HEAD = 2, 14

Message = tuple[bytes, bool]
"""A whole message, and whether it is binary."""


class Incoming:
    """The input of one connection, from the end of the handshake on."""

    __slots__ = (
        "_in_pieces",
        "_largest",
        "_needed",
        "_protocol",
        "_rest",
        "_to_library",
        "_to_skip",
    )

    def __init__(self, protocol: ServerProtocol, largest: int) -> None:
        """``largest``: bytes that a message may have."""
        self._protocol = protocol
        self._largest = largest
        self._rest: bytearray | None = None
        """The beginning of a frame of which the end has not come."""
        self._needed = 0
        """Bytes that this frame has, as far as it is known."""
        self._to_skip = 0
        """Bytes of a frame that are not kept."""
        self._in_pieces = False
        """A message has begun that comes in several frames."""
        self._to_library = False
        """Everything from now on: it has found a fault, or the connection ends."""

    @property
    def has_begun(self) -> bool:
        """Whether a frame, or a message, is not complete yet."""
        return self._rest is not None or self._in_pieces

    @property
    def kept(self) -> int:
        """Bytes of a frame of which the end has not come."""
        return 0 if self._rest is None else len(self._rest)

    def pass_over(self, data: bytes) -> None:
        """As ``feed``, and nothing is found; of long frames nothing is kept meanwhile."""
        skipped = min(self._to_skip, len(data))
        self._to_skip -= skipped
        if skipped < len(data):
            self.feed(data[skipped:])
            self.let_go()

    def let_go(self) -> None:
        """Pass over the frame that has begun, if it is a long one."""
        rest = self._rest
        if rest is not None and len(rest) > _LONGEST_HEAD:
            self._to_skip = self._needed - len(rest)
            self._rest = None

    def feed(self, data: bytes) -> list[Message | Frame]:
        """What is complete with ``data``, in the order in which it came."""
        rest = self._rest
        if rest is not None:
            rest += data
            if len(rest) < self._needed:
                return []
            data, self._rest = bytes(rest), None
        found: list[Message | Frame] = []
        at = 0
        while at < len(data) and not self._to_library:
            taken = self._next(data, at, found)
            if not taken and not self._to_library:
                self._rest = bytearray(data[at:])
                return found
            at += taken
        if at < len(data):
            self._give(data[at:], found)
        return found

    def _next(self, data: bytes, at: int, found: list[Message | Frame]) -> int:
        """Take the frame that begins at ``at``; its bytes, 0 when its end has not come."""
        left = len(data) - at
        if left < _SHORTEST_HEAD:
            return self._wait_for(_SHORTEST_HEAD)
        first, second = data[at], data[at + 1]
        length, head = second & _LENGTH, _SHORTEST_HEAD
        if length >= _TWO_BYTES:
            head += 2 if length == _TWO_BYTES else 8
            if left < head:
                return self._wait_for(head)
            length = int.from_bytes(data[at + _SHORTEST_HEAD : at + head])
        if not second & _MASKED or length > self._largest:
            self._to_library = True
            return 0
        head += _MASK_BYTES
        whole = head + length
        if left < whole:
            return self._wait_for(whole)
        if first in _WHOLE and not self._in_pieces:
            begins = at + head
            message = apply_mask(data[begins : at + whole], data[begins - _MASK_BYTES : begins])
            found.append((message, first != _WHOLE_TEXT))
            return whole
        if first & _OPCODE <= 2:  # a message, or a piece of one
            self._in_pieces = not first & _FINAL
        self._give(data[at : at + whole], found)
        return whole

    def _wait_for(self, needed: int) -> int:
        self._needed = needed
        return 0

    def _give(self, data: bytes, found: list[Message | Frame]) -> None:
        self._protocol.receive_data(data)
        found += [event for event in self._protocol.events_received() if isinstance(event, Frame)]
        if self._protocol.state is not OPEN:
            self._to_library = True
