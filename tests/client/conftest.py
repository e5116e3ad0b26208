"""A server of the tests' own, which answers as the test says, or breaks off.

It knows nothing of messaging: what the client does with a real server is in
``test_against_the_server.py``.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from nuska.client import Client
from nuska.testing.timing import ManualTiming

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """Gives the replies of ``script`` one after the other, the last one for ever."""

    url: str = ""
    script: list[Reply] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(
            Seen(
                request.method,
                request.rel_url.raw_path,
                dict(request.query),
                headers,
                await request.read(),
            )
        )
        reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return await reply(request)

    def answers(self, *replies: Reply) -> None:
        self.script = list(replies)


def says(status: int = 200, document: Any = None, headers: dict[str, str] | None = None) -> Reply:
    async def reply(request: web.Request) -> web.StreamResponse:
        if document is None:
            return web.Response(status=status, headers=headers)
        return web.json_response(document, status=status, headers=headers)

    return reply


async def breaks_off(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaks_off_in_mid_answer(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"messages": [')
    assert request.transport is not None
    request.transport.abort()
    return response


@pytest.fixture
def reply() -> SimpleNamespace:
    """The vocabulary of scripts."""
    return SimpleNamespace(
        says=says, breaks_off=breaks_off, breaks_off_in_mid_answer=breaks_off_in_mid_answer
    )


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield scripted
    await runner.cleanup()


@pytest.fixture
def hurried() -> ManualTiming:
    """Time in which every sleep is over at once."""
    return ManualTiming(hurry=True)


@pytest.fixture
async def client(server: ScriptedServer, hurried: ManualTiming) -> AsyncIterator[Client]:
    async with Client(server.url, project="shop", timing=hurried.timing) as client:
        yield client


@dataclass
class Line:
    """One WebSocket of a client, as a scripted server sees it."""

    connection: ServerConnection

    async def asked(self, action: str) -> dict[str, Any]:
        """The next request, which must be this one."""
        request: dict[str, Any] = json.loads(await self.connection.recv())
        assert request["action"] == action
        return request

    async def replies(self, request: dict[str, Any], body: Any, *, status: int = 200) -> None:
        document = {"request_id": request["request_id"], "headers": {"status": status}}
        await self.connection.send(json.dumps({**document, "body": body}))

    async def pushes(self, marker: str, body: Any = None, *, queue: str = "jobs") -> None:
        await self.tells("Notification", queue_name=queue, marker=marker, body=body, ttl=60)

    async def tells(self, kind: str, **what: Any) -> None:
        await self.connection.send(json.dumps({"Message_Type": kind, **what}))

    async def breaks_off(self) -> None:
        self.connection.transport.abort()
        await self.connection.wait_closed()

    async def closes(self, code: int, reason: str = "") -> None:
        await self.connection.close(code, reason)

    async def ends(self) -> None:
        """The client has gone."""
        await self.connection.wait_closed()


Script = Callable[[Line], Awaitable[None]]


@dataclass
class ScriptedLines:
    """Handles each connection by the next part of ``script``."""

    url: str = ""
    script: list[Script] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    opened: int = 0

    async def handle(self, connection: ServerConnection) -> None:
        part = self.script[self.opened]
        self.opened += 1
        try:
            await part(Line(connection))
        except BaseException as failure:
            self.failures.append(failure)
            raise


@pytest.fixture
async def lines() -> AsyncIterator[ScriptedLines]:
    """A WebSocket server that does as the test says, connection by connection."""
    scripted = ScriptedLines()
    async with serve(scripted.handle, "127.0.0.1", 0) as server:
        scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield scripted
    assert scripted.failures == []
