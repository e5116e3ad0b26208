"""What all connections of one server have in common."""

import asyncio
import logging
from collections.abc import Callable, Collection
from email.utils import formatdate
from typing import TYPE_CHECKING, Protocol

from uvicorn import Config
from uvicorn.server import ServerState

from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock
from nuska.transport.server import bounds as at_most
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.bounds import Bounds
from nuska.transport.server.counters import Counters
from nuska.transport.server.request_ids import RequestIds

if TYPE_CHECKING:
    from nuska.transport.server.exchange import Exchange
    from nuska.transport.server.sockets import Sockets


class Served(Protocol):
    """A connection, whatever is spoken on it."""

    transport: asyncio.Transport

    def check(self, now: float) -> None:
        """Hold it to its deadlines."""
        ...

    def shutdown(self) -> None:
        """The server is stopping."""
        ...


logger = logging.getLogger("nuska.server")
LogRequest = Callable[["Exchange", float], None]
"""Told of every answer and how many seconds it took."""


class Shared(ServerState):
    """uvicorn's server state, and ours.

    ``now`` is the loop's time as of the last tick: near enough for deadlines of seconds,
    and free to read on every request.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        clock: Clock,
        bounds: Bounds,
        counters: Counters,
        request_ids: RequestIds,
        log_request: LogRequest | None,
    ) -> None:
        super().__init__()
        self.config = Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
        self.config.load()
        self.app = app
        self.clock = clock
        self.bounds = bounds
        self.counters = counters
        self.request_ids = request_ids
        self.side_apps: dict[str, AsgiApp] = {}
        """Applications that serve one path each."""
        self.sockets: Sockets | None = None
        """WebSockets, where they are served."""
        self.websocket_paths: Collection[str] | None = ()
        """Where; None: everywhere."""
        self.log_request = log_request
        self.now = 0.0
        self.moment: Moment = clock.now()
        """The time of day as of the last tick."""
        self.date_line = b""
        self.stopping = False
        self.unread: dict[Served, int] = {}
        """Connections whose clients do not read, longest first, and the bytes kept for each."""
        self._unread_bytes = 0
        self.deserted = asyncio.Event()
        """Set when, while stopping, the last connection has gone."""

    def stalled(self, connection: Served, size: int) -> None:
        """A client does not keep up with its answer, of which ``size`` bytes are left."""
        self.unread[connection] = size
        self._unread_bytes += size
        while self._unread_bytes > at_most.MAX_UNSENT and len(self.unread) > 1:
            slowest = next(iter(self.unread))
            self.flowing(slowest)
            slowest.transport.abort()

    def flowing(self, connection: Served) -> None:
        """The client reads on, or the connection has ended."""
        self._unread_bytes -= self.unread.pop(connection, 0)

    def tick(self, now: float) -> None:
        """Take the time, and look after every connection."""
        self.moment = self.clock.now()
        if int(now) != int(self.now) or not self.date_line:
            date = formatdate(self.moment / 1000, usegmt=True)
            self.date_line = f"date: {date}\r\n".encode()
        self.now = now
        for connection in tuple(self.connections):
            self._look_after(connection, now)  # type: ignore[arg-type]  # all of them are ours

    def _look_after(self, connection: Served, now: float) -> None:
        """What goes wrong with one is the end of that one, not of everybody's deadlines."""
        try:
            connection.check(now)
        except Exception as error:
            logger.error("looking after a connection failed unexpectedly", exc_info=error)
            self.counters.crashes += 1
            connection.transport.abort()
