"""Messages that have come on one WebSocket connection and wait for their turn.

Pieces are put together here, and what is packed is unpacked, a little at a time and only as far as
there is room: a small message may be a large one when it is unpacked. Carries nothing out.
"""

from collections import deque

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from nuska.transport.server import bounds as at_most
from nuska.transport.server.framing import PLAIN, framing_of
from nuska.transport.server.incoming import Incoming, Message
from nuska.transport.server.sockets import MAX_FRAGMENTS, TOO_LARGE


class Arrivals:
    __slots__ = (
        "_fragments",
        "_fragments_binary",
        "_fragments_size",
        "_incoming",
        "_largest",
        "_packs",
        "_protocol",
        "_waiting",
        "begun_at",
        "packed",
    )

    def __init__(self, protocol: ServerProtocol, largest: int) -> None:
        """``largest``: bytes that a message may have."""
        self._protocol = protocol
        self._largest = largest
        self._incoming = Incoming(protocol, largest)
        self._packs = framing_of(protocol.extensions) != PLAIN
        self._waiting: deque[Message] = deque()
        self._fragments: list[bytes] = []
        self._fragments_binary = False
        self._fragments_size = 0
        self.packed = bytearray()
        """Input in which messages are packed, and not unpacked yet."""
        self.begun_at = 0.0
        """Since when a message is on its way; 0.0: none is."""

    def __bool__(self) -> bool:
        """Whether there is anything that waits."""
        return bool(self._waiting or self.packed)

    @property
    def waiting_bytes(self) -> int:
        return sum(len(message) for message, _ in self._waiting)

    @property
    def unfinished_bytes(self) -> int:
        """Kept of a message that is on its way."""
        return self._incoming.kept + self._fragments_size

    def come(self, data: bytes, now: float) -> None:
        """Take what the client has sent."""
        if self._packs:
            self.packed += data
            self._unpack(now)
        else:
            self._read(data, now)

    def pass_over(self, data: bytes) -> None:
        """What comes while the connection ends: only the end itself is of interest."""
        self._incoming.pass_over(data)

    def first(self, now: float) -> Message | None:
        """The one whose turn it is; it waits until ``shift``."""
        if not self._waiting:
            if not self.packed:
                return None
            self._unpack(now)
        return self._waiting[0] if self._waiting else None

    def shift(self) -> None:
        self._waiting.popleft()

    def drop(self) -> None:
        """Nothing of it is carried out."""
        self._waiting.clear()
        self.packed.clear()

    def let_go(self) -> None:
        """Nothing that comes is of interest any more: keep none of it."""
        self.drop()
        self._forget_fragments()
        self._incoming.let_go()

    def _unpack(self, now: float) -> None:
        packed = self.packed
        while packed and self.waiting_bytes < self._largest:
            piece = bytes(packed[: at_most.UNPACKED_AT_ONCE])
            del packed[: at_most.UNPACKED_AT_ONCE]
            self._read(piece, now)
            if self._protocol.state is not OPEN:
                packed.clear()

    def _read(self, data: bytes, now: float) -> None:
        for one in self._incoming.feed(data):
            if isinstance(one, Frame):
                self._take(one)
            else:
                self._put(one)
        if not self._incoming.has_begun:
            self.begun_at = 0.0
        elif not self.begun_at:
            self.begun_at = now

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            binary = frame.opcode is Opcode.BINARY
            if frame.fin:
                self._put((bytes(frame.data), binary))
            else:
                self._fragments = [bytes(frame.data)]
                self._fragments_size = len(frame.data)
                self._fragments_binary = binary
        elif frame.opcode is Opcode.CONT:
            self._fragments.append(bytes(frame.data))
            self._fragments_size += len(frame.data)
            if len(self._fragments) > MAX_FRAGMENTS:
                self._protocol.fail(TOO_LARGE, "too many pieces")
            elif frame.fin:
                self._put((b"".join(self._fragments), self._fragments_binary))
                self._forget_fragments()

    def _forget_fragments(self) -> None:
        self._fragments = []
        self._fragments_size = 0

    def _put(self, message: Message) -> None:
        """A whole one has come."""
        self._waiting.append(message)
        self.begun_at = 0.0
