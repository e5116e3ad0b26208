"""What all WebSocket connections of a process have in common: their limits, and their counts."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nuska.transport.server import bounds as at_most
from nuska.transport.server.room import Room
from nuska.transport.server.socket_bounds import SocketBounds
from nuska.transport.websocket.session import EXPIRED

if TYPE_CHECKING:
    from nuska.transport.server.websocket import WebSocketConnection
    from nuska.transport.websocket.service import WebSocketService

CLOSE_TIMEOUT = 5.0
"""Seconds that a client has for its half of a close."""
ENVELOPE = 65_536
"""Bytes that a message may have besides what the API limits: action, headers, ids."""
MAX_FRAGMENTS = 4096
"""Frames of one message: each of them costs, however little it brings."""
PATHS = ("/", "/v2", "/v2/websocket")
"""Where HTTP and WebSockets live on one port."""

RESTART = 1012
IDLE = 1001
UNANSWERED = UNEXPECTED = 1011
UNFINISHED = 1008
TOO_LARGE = 1009
CROWDED = 1013
SLOW = 4008
FIRST_PRIVATE = 3000
"""Codes from here on mean what the two ends agree on."""


class SocketCounters:
    """Plain numbers since the start."""

    def __init__(self) -> None:
        self.connections = 0
        self.received = 0
        """Messages."""
        self.sent = 0
        """Replies."""
        self.pushed = 0
        self.closed: dict[int, int] = {}
        """By the code of whoever closed first; 1006 for connections that just ended."""
        self.turned_away = 0

    def ended(self, code: int) -> None:
        # A client may choose among thousands of codes.
        known = code if code < FIRST_PRIVATE or code in (EXPIRED, SLOW) else FIRST_PRIVATE
        self.closed[known] = self.closed.get(known, 0) + 1


class Sockets:
    """The connections of one process, counted by where they come from."""

    def __init__(
        self,
        service: "WebSocketService",
        *,
        max_message: int,
        bounds: SocketBounds | None = None,
        admit: Callable[[Mapping[bytes, bytes]], bool] = lambda _: True,
    ) -> None:
        """``max_message``: bytes of the largest body of the API. ``admit`` says whether a
        handshake with these headers is for this server at all."""
        self.service = service
        self.bounds = bounds or SocketBounds()
        self.max_message = max_message + ENVELOPE
        self.admit = admit
        self.counters = SocketCounters()
        self.open: set[WebSocketConnection] = set()
        self.room = Room()
        self._by_address: dict[str, int] = {}
        self._unfinished: dict[WebSocketConnection, int] = {}
        """Connections on which a message has begun, or waits for room, longest first, and the bytes
        kept for each."""
        self._unfinished_bytes = 0

    def has_room(self, address: str) -> bool:
        bounds = self.bounds
        return (
            len(self.open) < bounds.max_websockets
            and self._by_address.get(address, 0) < bounds.max_websockets_per_address
        )

    def add(self, connection: "WebSocketConnection", address: str) -> None:
        self.open.add(connection)
        self.counters.connections += 1
        self._by_address[address] = self._by_address.get(address, 0) + 1

    def remove(self, connection: "WebSocketConnection", address: str) -> None:
        self.open.discard(connection)
        left = self._by_address.get(address, 0) - 1
        if left > 0:
            self._by_address[address] = left
        else:
            self._by_address.pop(address, None)

    def begun(self, connection: "WebSocketConnection", size: int) -> None:
        """So many bytes are kept of what the client has not finished, or there is no room for."""
        self._unfinished_bytes += size - self._unfinished.get(connection, 0)
        self._unfinished[connection] = size
        while self._unfinished_bytes > at_most.MAX_UNFINISHED:
            strangers = (one for one in self._unfinished if not one.session.is_known)
            one = next(strangers, connection)
            self.finished(one)
            one.close(CROWDED, "too many messages are not finished, or wait for room")
            if one is connection:
                break

    def finished(self, connection: "WebSocketConnection") -> None:
        """Nothing is kept of such a message any more."""
        self._unfinished_bytes -= self._unfinished.pop(connection, 0)
