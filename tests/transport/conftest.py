"""A server in the test's own loop, around an application of the test's choice."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from nuska.addresses import TcpAddress
from nuska.system import SystemClock
from nuska.transport.server.bounds import Bounds
from nuska.transport.server.ports import open_port
from nuska.transport.server.server import HttpServer

App = Callable[[Any, Any, Any], Awaitable[None]]


class Served:
    def __init__(self, server: HttpServer, port: int) -> None:
        self.server = server
        self.port = port


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Served]]]:
    """``await serve(app, head_timeout=0.2)``: a server that ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(app: App, **bounds: Any) -> Served:
            server = HttpServer(
                app,
                clock=SystemClock(),
                random_bytes=random.Random(1).randbytes,
                bounds=Bounds(**{"stop_timeout": 1.0, **bounds}),
            )
            port = open_port(TcpAddress("127.0.0.1", 0))
            await server.start([port])
            stack.push_async_callback(server.stop)
            return Served(server, port.address.port)

        yield start
