"""A stop loses no request that is on its way: it cannot be sent again by whoever sent it first."""

import asyncio
from typing import Any

import pytest

from nuska.transport.server import bounds

GET = b"GET /thing HTTP/1.1\r\nHost: localhost\r\n\r\n"
AT_MOST = 20.0
LONG = 60.0
"""Seconds; longer than any wait here."""


async def hello(scope: Any, receive: Any, send: Any) -> None:
    length = (b"content-length", b"5")
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": b"hello"})


async def connected(server: Any, connections: int) -> None:
    async with asyncio.timeout(AT_MOST):
        while server.open_connections != connections:  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0.01)


async def all_that_comes(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(AT_MOST):
        return await reader.read()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FIRST_WITHIN", LONG)


async def test_the_first_request_of_a_new_connection_is_answered(serve: Any, patient: None) -> None:
    served = await serve(hello, stop_timeout=LONG)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    await connected(served.server, 1)
    stopping = asyncio.create_task(served.server.stop())
    await asyncio.sleep(0)
    writer.write(GET)
    answer = await all_that_comes(reader)
    assert answer.endswith(b"hello")
    assert b"connection: close" in answer
    await stopping
    writer.close()


async def test_a_new_connection_that_says_nothing_does_not_hold_a_stop_up_for_long(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "FIRST_WITHIN", 0.1)
    served = await serve(hello, stop_timeout=LONG)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    await connected(served.server, 1)
    async with asyncio.timeout(AT_MOST):
        await served.server.stop()
    assert await all_that_comes(reader) == b""
    writer.close()


async def test_a_request_that_has_arrived_on_an_idle_connection_is_answered(serve: Any) -> None:
    served = await serve(hello, stop_timeout=LONG)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(GET)
    await reader.readuntil(b"hello")
    writer.write(GET)  # goes to the kernel at once, and the server's loop has had no turn since
    served.server.stop_accepting()
    answer = await all_that_comes(reader)
    assert answer.endswith(b"hello")
    assert b"connection: close" in answer
    writer.close()


async def test_an_idle_connection_ends_at_once(serve: Any, patient: None) -> None:
    served = await serve(hello, stop_timeout=LONG)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(GET)
    await reader.readuntil(b"hello")
    async with asyncio.timeout(AT_MOST):
        await served.server.stop()
    assert await all_that_comes(reader) == b""
    writer.close()
