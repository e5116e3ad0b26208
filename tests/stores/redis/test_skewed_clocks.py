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
SLACK = 0.25
"""Seconds by which two measurements of the server's time may differ on a busy machine: each is
wrong by half of what the quickest of three answers took, at most."""
ROUNDING = 0.002
"""Moments are whole milliseconds."""
DELAY = 1000
PATIENCE = 30.0
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


async def until_claimed(nodes: list[Service]) -> float:
    """Both nodes try in turn; when one of them got something."""
    until = time.monotonic() + PATIENCE
    for number, node in enumerate(cycle(nodes), start=100):
        if await claim(node, number, HOUR):
            return time.monotonic()
        assert time.monotonic() < until
        await asyncio.sleep(0.01)
    raise AssertionError


def disagreement(nodes: list[Service]) -> float:
    """Seconds by which the nodes measured the server's time differently."""
    one, other = (node.core.clock.now() for node in nodes)
    return abs(one - other) / 1000


async def test_the_clocks_of_the_nodes_agree(nodes: list[Service]) -> None:
    assert disagreement(nodes) < SLACK
    server_says: Moment = await nodes[0].store.time()
    assert abs(server_says - nodes[1].core.clock.now()) < 1000


@pytest.mark.parametrize("holder", [0, 1], ids=SKEWS)
async def test_a_claim_lasts_as_long_for_every_node(nodes: list[Service], holder: int) -> None:
    await post(nodes[1 - holder], b'"held"')
    before = time.monotonic()
    assert await claim(nodes[holder], 1) == [b'"held"']
    after = time.monotonic()
    taken = await until_claimed([nodes[1 - holder], nodes[holder]])
    # It began between the two, which on a busy machine is not at once.
    assert taken - before >= TTL / 1000 - disagreement(nodes) - ROUNDING
    assert taken - after <= TTL / 1000 + I5_BOUND


@pytest.mark.parametrize("poster", [0, 1], ids=SKEWS)
async def test_a_delay_lasts_as_long_for_every_node(nodes: list[Service], poster: int) -> None:
    before = time.monotonic()
    await post(nodes[poster], b'"later"', delay=DELAY)
    after = time.monotonic()
    taken = await until_claimed([nodes[1 - poster], nodes[poster]])
    assert taken - before >= DELAY / 1000 - disagreement(nodes) - ROUNDING
    assert taken - after <= DELAY / 1000 + I5_BOUND
