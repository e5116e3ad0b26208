"""Listens, ticks, stops: the life of a server around its connections.

It owns the tick and every request's task. It installs no signal handlers: when to stop is
its owner's decision.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Collection
from typing import Any

from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import RandomBytes
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.bounds import LINGER, Bounds
from nuska.transport.server.connection import Connection
from nuska.transport.server.counters import Counters
from nuska.transport.server.ports import BACKLOG, Port
from nuska.transport.server.request_ids import RequestIds
from nuska.transport.server.shared import LogRequest, Shared
from nuska.transport.server.sockets import PATHS, Sockets

ENDS_WITHIN = 2.0
"""Seconds for requests in flight when a stop has closed their connections: what the store hands out
to one by then, it gives back."""
LONGEST_TICK = 0.5
SHORTEST_TICK = 0.05
TICKS_PER_DEADLINE = 8
"""A deadline is noticed at most this fraction of itself too late, within the two above."""
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Milliseconds for which sent bytes may go unacknowledged; Linux has it."""

logger = logging.getLogger("nuska.server")


class HttpServer:
    """Serves one ASGI application on open ports."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        clock: Clock,
        random_bytes: RandomBytes,
        bounds: Bounds | None = None,
        counters: Counters | None = None,
        log_request: LogRequest | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``tls``: how connections over a network are encrypted; None: not at all."""
        self.bounds = bounds or Bounds()
        self.counters = counters or Counters()
        self._shared = Shared(
            app,
            clock=clock,
            bounds=self.bounds,
            counters=self.counters,
            request_ids=RequestIds(random_bytes),
            log_request=log_request,
        )
        self._tls = tls
        self._ports: list[Port] = []
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.Task[None] | None = None

    def add_side_app(self, path: str, app: AsgiApp) -> None:
        """Serve exactly ``path`` by another application."""
        self._shared.side_apps[path] = app

    def serve_websockets(self, sockets: Sockets, paths: Collection[str] | None = PATHS) -> None:
        """Take WebSocket handshakes at ``paths``; None: wherever they ask."""
        self._shared.sockets = sockets
        self._shared.websocket_paths = paths

    @property
    def open_connections(self) -> int:
        return len(self._shared.connections)

    @property
    def running_requests(self) -> int:
        return len(self._shared.tasks)

    async def start(self, ports: list[Port]) -> None:
        """Accept connections; the ports belong to the server from here on."""
        loop = asyncio.get_running_loop()
        self._ports = ports
        self._shared.tick(loop.time())
        self._ticking = loop.create_task(self._tick(), name="server-tick")
        for port in ports:
            for open_socket in port.sockets:
                self._servers.append(await self._serve(loop, open_socket))

    async def _serve(
        self, loop: asyncio.AbstractEventLoop, open_socket: socket.socket
    ) -> asyncio.Server:
        if open_socket.family != socket.AF_UNIX and _USER_TIMEOUT is not None:
            # What is sent to a machine that has gone without a word is acknowledged by nobody, and
            # sent again for a quarter of an hour. Connections have this from their listener.
            waits = int(self.bounds.send_timeout * 1000)
            open_socket.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, waits)
        encrypted: dict[str, Any] = {}
        if self._tls is not None and open_socket.family != socket.AF_UNIX:
            encrypted = {
                "ssl": self._tls,
                "ssl_handshake_timeout": self.bounds.head_timeout,
                "ssl_shutdown_timeout": LINGER,
            }
        return await loop.create_server(
            lambda: Connection(self._shared, loop), sock=open_socket, backlog=BACKLOG, **encrypted
        )

    def stop_accepting(self) -> None:
        """No new connections; idle ones end; requests in flight are answered, then end, and so
        is the first request of a connection that was made a moment ago."""
        self._shared.stopping = True
        for server in self._servers:
            server.close()
        for port in self._ports:
            port.close()
        for connection in tuple(self._shared.connections):
            connection.shutdown()

    async def stop(self) -> None:
        """Wait for the requests in flight, at most ``stop_timeout``, then cut off the rest: first
        from their clients, then in what they do."""
        if not self._shared.stopping:
            self.stop_accepting()
        await asyncio.sleep(0)  # then the loop has told of what it had accepted
        if not self._shared.connections:
            self._shared.deserted.set()
        try:
            async with asyncio.timeout(self.bounds.stop_timeout):
                await self._shared.deserted.wait()
        except TimeoutError:
            logger.warning(
                "cut off requests that did not end in time",
                extra={"requests": self.running_requests, "connections": self.open_connections},
            )
        for connection in tuple(self._shared.connections):
            connection.transport.abort()
        tasks = tuple(self._shared.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=ENDS_WITHIN)
        for task in tasks:
            task.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
            tasks += (self._ticking,)
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tick(self) -> None:
        limits = self.bounds
        shortest = min(
            limits.head_timeout, limits.body_timeout, limits.idle_timeout, limits.send_timeout
        )
        pause = min(LONGEST_TICK, max(SHORTEST_TICK, shortest / TICKS_PER_DEADLINE))
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(pause)
            self._shared.tick(loop.time())
