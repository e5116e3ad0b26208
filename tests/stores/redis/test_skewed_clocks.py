"""Nodes whose machines disagree by minutes live on one timeline, the store's (I2, I5, I9)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from pathlib import Path

import pytest

from nuska import opening
from nuska.assembly import Service, assembled
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.settings import Settings
from nuska.system import SystemClock
from nuska.testing.redis_server import RedisServer

SKEWS = {"ahead": 7 * 60_000, "behind": -5 * 60_000}
TTL = Duration(1000)
HOUR = Duration(3_600_000)
I5_BOUND = 1.0
"""Seconds in which an expired claim's messages are claimable."""
SLACK = 0.05
"""Seconds by which two measurements of the server's time may differ here."""
QUEUE = QueueRef("acme", "inbox")


@pytest.fixture
async def nodes(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[Service]]:
    """Two whole services on one store, on machines with wrong clocks."""
    skews: Iterator[int] = iter(SKEWS.values())

    class WrongClock(SystemClock):
        def __init__(self) -> None:
            super().__init__()
            self._offset += next(skews) * 1_000_000

    monkeypatch.setattr(opening, "SystemClock", WrongClock)
    settings = Settings(listen="127.0.0.1:0", store=server.url, metrics="off")
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(assembled(settings, tmp_path)) for _ in SKEWS]


async def post(node: Service, body: bytes, delay: int = 0) -> None:
    message = NewMessage(body=body, ttl=HOUR, delay=Duration(delay))
    await node.store.messages.add(QUEUE, [message], now=node.core.clock.now())


async def claim(node: Service, number: int, ttl: Duration = TTL) -> list[bytes]:
    claimed = await node.store.claims.create(
        QUEUE,
        claim_id=f"{number:024x}",
        limit=10,
        ttl=ttl,
        grace=Duration(0),
        now=node.core.clock.now(),
    )
    return [message.body for message in claimed.messages]


async def seconds_until_claimed(nodes: list[Service]) -> float:
    """Both nodes try in turn; how long nobody got anything."""
    began = time.monotonic()
    for number, node in enumerate(cycle(nodes), start=100):
        if await claim(node, number, HOUR):
            return time.monotonic() - began
        assert time.monotonic() - began < 30
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_the_clocks_of_the_nodes_agree(nodes: list[Service]) -> None:
    one, other = (node.core.clock.now() for node in nodes)
    assert abs(one - other) < SLACK * 1000
    server_says: Moment = await nodes[0].store.time()
    assert abs(server_says - other) < 1000


@pytest.mark.parametrize("holder", [0, 1], ids=SKEWS)
async def test_a_claim_lasts_as_long_for_every_node(nodes: list[Service], holder: int) -> None:
    await post(nodes[1 - holder], b'"held"')
    assert await claim(nodes[holder], 1) == [b'"held"']
    waited = await seconds_until_claimed([nodes[1 - holder], nodes[holder]])
    assert TTL / 1000 - SLACK <= waited <= TTL / 1000 + I5_BOUND


@pytest.mark.parametrize("poster", [0, 1], ids=SKEWS)
async def test_a_delay_lasts_as_long_for_every_node(nodes: list[Service], poster: int) -> None:
    await post(nodes[poster], b'"later"', delay=1000)
    waited = await seconds_until_claimed([nodes[1 - poster], nodes[poster]])
    assert 1 - SLACK <= waited <= 1 + I5_BOUND
