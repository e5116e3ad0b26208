"""A server of the tests' own, which answers as the test says, or breaks off.

It knows nothing of messaging: what the client does with a real server is in
``test_against_the_server.py``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

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
