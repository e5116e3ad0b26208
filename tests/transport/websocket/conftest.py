"""The API in the test's own loop, over real sockets: HTTP and WebSockets on one port."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from nuska.addresses import TcpAddress
from nuska.core import Core, build_core
from nuska.domain.limits import Limits
from nuska.identity.none import NoAuthentication
from nuska.interfaces.identity import Identity
from nuska.stores.memory import MemoryStore
from nuska.system import SystemClock
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.raw_websocket import Raw
from nuska.testing.websocket_frames import handshake
from nuska.transport.http import build_app
from nuska.transport.server.bounds import Bounds
from nuska.transport.server.ports import open_port
from nuska.transport.server.server import HttpServer
from nuska.transport.server.sockets import SocketBounds, Sockets
from nuska.transport.websocket.service import WebSocketService


class Served:
    """A server, and what is behind it."""

    def __init__(self, server: HttpServer, sockets: Sockets, core: Core, port: int) -> None:
        self.server = server
        self.sockets = sockets
        self.core = core
        self.port = port

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v2/websocket"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(now=clock.now(), random_bytes=seeded_bytes(1))


@pytest.fixture
async def serve(store: MemoryStore, clock: ManualClock) -> AsyncIterator[Serve]:
    """``await serve(bounds={"ping_interval": 0.1}, max_wait=1)``: ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(
            *,
            bounds: dict[str, Any] | None = None,
            server: dict[str, Any] | None = None,
            identity: Identity | None = None,
            core: dict[str, Any] | None = None,
            **limits: Any,
        ) -> Served:
            built = build_core(
                store=store,
                clock=clock,
                limits=Limits(**limits),
                random_bytes=seeded_bytes(2),
                **(core or {}),
            )
            identity = NoAuthentication() if identity is None else identity
            http = HttpServer(
                build_app(built, identity),
                clock=SystemClock(),
                random_bytes=random.Random(1).randbytes,
                bounds=Bounds(**{"stop_timeout": 2.0, **(server or {})}),
            )
            socket_bounds = SocketBounds(**(bounds or {}))
            service = WebSocketService(
                built,
                identity,
                random_bytes=seeded_bytes(3),
                max_queues=socket_bounds.max_subscriptions_per_connection,
            )
            sockets = Sockets(
                service,
                max_message=built.limits.max_messages_post_size,
                bounds=socket_bounds,
            )
            http.serve_websockets(sockets)
            port = open_port(TcpAddress("127.0.0.1", 0))
            await http.start([port])
            stack.push_async_callback(http.stop)
            stack.push_async_callback(built.live.stop)
            stack.callback(built.wakeups.stop)
            return Served(http, sockets, built, port.address.port)

        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


@pytest.fixture
async def dial() -> AsyncIterator[Callable[..., Any]]:
    """``await dial(port)``: a raw connection after its handshake; ``sent`` comes with it."""
    writers = []

    async def start(port: int, *, sent: bytes = b"", opened: bool = True) -> Raw:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        raw = Raw(reader, writer)
        if opened:
            writer.write(handshake("/v2") + sent)
            assert (await raw.head()).startswith("HTTP/1.1 101 ")
        return raw

    yield start
    for writer in writers:
        writer.transport.abort()
