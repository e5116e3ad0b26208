"""Whoever is cut off, or goes, before his reply is on its way takes nothing with him, on either
transport: while a large one in MessagePack is made piece by piece, and while the store commits."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from nuska.interfaces.identity import Caller
from nuska.stores.memory import MemoryStore
from nuska.testing.websocket_client import CLIENT, PROJECT, Talk, talking
from nuska.transport.http import answers
from nuska.transport.server import server
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
def slow_store(held: Held, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Held:
    """A store that is held between having handed something out and saying so."""

    def slow(call: Any) -> Any:
        async def commit(*args: Any, **options: Any) -> Any:
            outcome = await call(*args, **options)
            await held.sleep(0)
            return outcome

        return commit

    monkeypatch.setattr(store.claims, "create", slow(store.claims.create))
    monkeypatch.setattr(store.messages, "pop", slow(store.messages.pop))
    return held


@pytest.fixture
async def served(serve: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(server, "ENDS_WITHIN", 0.05)
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


OVER_HTTP = pytest.mark.parametrize(
    "asked",
    ["DELETE /v2/queues/jobs/messages?pop=1", "POST /v2/queues/jobs/claims"],
    ids=["pop", "claim"],
)


async def ask(served: Any, asked: str) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(
        f"{asked} HTTP/1.1\r\nHost: localhost\r\nClient-ID: {CLIENT}\r\n"
        f"X-Project-Id: {PROJECT}\r\nAccept: application/msgpack\r\n\r\n".encode()
    )
    return writer


@OVER_HTTP
async def test_over_http_a_stop_gives_it_back_too(
    served: Any, taker: Talk, held: Held, asked: str
) -> None:
    writer = await ask(served, asked)
    await held.begun.wait()
    assert await counted(served) != (1, 0)
    await served.server.stop()
    assert await counted(served) == (1, 0)
    writer.transport.abort()


async def stopped_while_it_commits(served: Any, held: Held) -> None:
    """The store says what it has handed out when every client has been cut off."""
    await held.begun.wait()
    assert await counted(served) != (1, 0)
    stopping = asyncio.create_task(served.server.stop())
    async with asyncio.timeout(20):
        while served.server.open_connections:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
    held.go_on.set()
    await stopping


@KINDS
async def test_what_the_store_hands_out_when_a_stop_has_cut_everybody_off_goes_back(
    served: Any,
    taker: Talk,
    slow_store: Held,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    body: dict[str, Any],
) -> None:
    monkeypatch.setattr(server, "ENDS_WITHIN", 20.0)
    await taker.send(action, queue_name="jobs", **body)
    await stopped_while_it_commits(served, slow_store)
    assert await counted(served) == (1, 0)


@OVER_HTTP
async def test_over_http_it_goes_back_too(
    served: Any,
    taker: Talk,
    slow_store: Held,
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
) -> None:
    monkeypatch.setattr(server, "ENDS_WITHIN", 20.0)
    writer = await ask(served, asked)
    await stopped_while_it_commits(served, slow_store)
    assert await counted(served) == (1, 0)
    writer.transport.abort()


@pytest.mark.parametrize("claims", [None, 3])
async def test_a_claim_that_the_store_takes_too_long_to_make_is_ended_by_its_id(
    served: Any, taker: Talk, slow_store: Held, claims: int | None
) -> None:
    together = {} if claims is None else {"claims": claims}
    await taker.send("claim_create", queue_name="jobs", limit=1, **together)
    await slow_store.begun.wait()
    assert await counted(served) == (0, 1)
    await served.server.stop()
    assert await counted(served) == (1, 0)
    slow_store.go_on.set()
    stored = await served.core.messages.pop(Caller(PROJECT), "jobs", 1)
    assert [message.claim_count for message in stored] == [0]
