"""The room in memory for the requests of all WebSocket connections that are carried out.

A document may take a hundred times as much there as its message has bytes, so before a message is
read there must be room left. Whoever comes when there is none waits for others to be answered, in
the order of coming; a message is weighed when it is read, so what is taken may exceed the bound by
what one connection takes up at a time. Does not decide how long anybody waits, nor how much may
wait unread.
"""

import asyncio
from typing import TYPE_CHECKING

from nuska.transport.server import bounds as at_most

if TYPE_CHECKING:
    from nuska.transport.server.websocket import WebSocketConnection


class Room:
    __slots__ = ("_letting_in", "_to_let_in", "_waiting", "taken")

    def __init__(self) -> None:
        self.taken = 0
        """Bytes, about."""
        self._waiting: dict[WebSocketConnection, None] = {}
        """Those that have a message to be read, longest first."""
        self._to_let_in = False
        """Some of these are let in at the next turn of the loop."""
        self._letting_in = False

    @property
    def waiting(self) -> int:
        """How many connections wait."""
        return len(self._waiting)

    def has_some_for(self, connection: "WebSocketConnection") -> bool:
        """Whether a message of this one may be read now; else it is told when to ask again."""
        if self._is_left and (self._letting_in or not self._waiting):
            return True
        self._waiting[connection] = None
        return False

    def change(self, by: int) -> None:
        """So many bytes more are taken, or less."""
        self.taken += by
        if self._waiting and self._is_left and not self._to_let_in:
            self._to_let_in = True
            asyncio.get_running_loop().call_soon(self._let_in)

    def leave(self, connection: "WebSocketConnection") -> None:
        """Wait no more."""
        self._waiting.pop(connection, None)

    @property
    def _is_left(self) -> bool:
        return self.taken < at_most.MAX_IN_HAND_OF_ALL

    def _let_in(self) -> None:
        self._to_let_in, self._letting_in = False, True
        try:
            while self._waiting and self._is_left:
                first = next(iter(self._waiting))
                del self._waiting[first]
                first.flush()
        finally:
            self._letting_in = False
