"""A large reply in MessagePack is made piece by piece: whoever is cut off, or goes, meanwhile takes
nothing with him, on either transport."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from nuska.interfaces.identity import Caller
from nuska.testing.websocket_client import CLIENT, PROJECT, Talk, talking
from nuska.transport.http import answers
from nuska.transport.websocket import frames

LARGE = "x" * (2 * frames.BYTES_PER_TURN)
POP = ("message_delete_many", {"pop": 1})
CLAIM = ("claim_create", {"limit": 1})
CLAIMS = ("claim_create", {"limit": 1, "claims": 3})
KINDS = pytest.mark.parametrize(
    ("action", "body"), [POP, CLAIM, CLAIMS], ids=["pop", "claim", "claims"]
)


class Held:
    """Between two pieces of a reply."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    async def sleep(self, _: float) -> None:
        self.begun.set()
        await self.go_on.wait()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    held = Held()
    for module in (frames, answers):
        monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=held.sleep))
    return held


@pytest.fixture
async def served(serve: Any) -> Any:
    return await serve(server={"stop_timeout": 0.05})


@pytest.fixture
async def taker(served: Any) -> AsyncIterator[Talk]:
    """Somebody who speaks MessagePack, and a message that is there for him."""
    async with talking(served.ws) as poster:
        await poster.ask("message_post", queue_name="jobs", messages=[{"body": LARGE}])
    async with talking(served.ws, binary=True) as talk:
        yield talk


async def counted(served: Any) -> tuple[int, int]:
    """Messages that are ready, and those in claims."""
    stats = (await served.core.queues.stats(Caller(PROJECT), "jobs")).stats
    return stats.ready, stats.claimed


@KINDS
async def test_a_stop_while_a_reply_is_made_gives_back_what_it_hands_out(
    served: Any, taker: Talk, held: Held, action: str, body: dict[str, Any]
) -> None:
    await taker.send(action, queue_name="jobs", **body)
    await held.begun.wait()
    assert await counted(served) != (1, 0)
    await served.server.stop()
    assert await counted(served) == (1, 0)


@KINDS
async def test_who_goes_while_his_reply_is_made_takes_nothing_with_him(
    served: Any, taker: Talk, held: Held, action: str, body: dict[str, Any]
) -> None:
    await taker.send(action, queue_name="jobs", **body)
    await held.begun.wait()
    taker.connection.transport.abort()
    async with asyncio.timeout(20):
        while served.sockets.open:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)
        held.go_on.set()
        while await counted(served) != (1, 0):  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0.01)


async def test_who_waits_for_a_large_reply_gets_it(served: Any, taker: Talk, held: Held) -> None:
    await taker.send(POP[0], queue_name="jobs", **POP[1])
    await held.begun.wait()
    held.go_on.set()
    reply = await taker.reply()
    assert [message["body"] for message in reply.body["messages"]] == [LARGE]
    assert await counted(served) == (0, 0)


@pytest.mark.parametrize(
    "asked",
    ["DELETE /v2/queues/jobs/messages?pop=1", "POST /v2/queues/jobs/claims"],
    ids=["pop", "claim"],
)
async def test_over_http_a_stop_gives_it_back_too(
    served: Any, taker: Talk, held: Held, asked: str
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"{asked} HTTP/1.1\r\nHost: localhost\r\nClient-ID: {CLIENT}\r\n"
        f"X-Project-Id: {PROJECT}\r\nAccept: application/msgpack\r\n\r\n".encode()
    )
    await held.begun.wait()
    assert await counted(served) != (1, 0)
    await served.server.stop()
    assert await counted(served) == (1, 0)
    writer.transport.abort()
