"""A long poll on one node wakes for what another node posts, heard or not (D13)."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nuska.assembly import Service, assembled
from nuska.core.messages import Draft
from nuska.core.waiting import Patience
from nuska.domain.messages import QueueRef
from nuska.interfaces.identity import Caller
from nuska.settings import Settings
from nuska.stores.redis.hints import LONGEST_PAUSE
from nuska.stores.redis.names import Names
from nuska.testing.redis_server import RedisServer, redis_cluster

CALLER = Caller(project="acme", client=b"c" * 16)
PATIENCE = 20.0
"""Seconds after which a poll that nobody woke would end."""
QUICKLY = 1.0
"""Seconds; a hint takes a millisecond or two."""
CHANNEL = Names("nuska:").hints


@pytest.fixture(params=["server", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "server":
        yield request.getfixturevalue("server").url
    else:
        with redis_cluster(tmp_path) as cluster:
            yield cluster.url


@pytest.fixture
async def nodes(url: str, tmp_path: Path) -> AsyncIterator[list[Service]]:
    """Two whole services on one store that hear each other."""
    settings = Settings(listen="127.0.0.1:0", store=url, metrics="off")
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(assembled(settings, tmp_path)) for _ in "ab"]
        await until_heard(services)
        yield services


async def until_heard(nodes: list[Service]) -> None:
    """Each hears the other: queues of names that do not matter are told until it is so."""
    for speaker, listener in (nodes, nodes[::-1]):
        ref = QueueRef("acme", "are you there")
        with listener.core.wakeups.waiting(ref, taker=True) as waiter:
            async with asyncio.timeout(PATIENCE):
                await waiter.wait(0.5)  # whoever begins to listen is woken once without reason
                woken = False
                while not woken:
                    speaker.core.announcing.wake(ref, 1)
                    woken = await waiter.wait(0.1)


async def post(node: Service, body: bytes) -> None:
    await node.core.messages.post(CALLER, "inbox", [Draft(body=body)])


async def popping(node: Service) -> tuple[list[bytes], float]:
    """What a long poll gets, and when."""
    found = await node.core.messages.pop(CALLER, "inbox", 1, patience=Patience(PATIENCE))
    return [message.body for message in found], time.monotonic()


async def waits(node: Service) -> asyncio.Task[tuple[list[bytes], float]]:
    """A long poll that has begun to wait."""
    polling = asyncio.create_task(popping(node))
    async with asyncio.timeout(PATIENCE):
        while not node.core.wakeups.waiters:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)  # its first look, which finds nothing
    return polling


async def test_a_long_poll_wakes_for_what_another_node_posts(nodes: list[Service]) -> None:
    for poster, waiter in (nodes, nodes[::-1]):
        polling = await waits(waiter)
        began = time.monotonic()
        await post(poster, b'"hello"')
        found, at = await polling
        assert found == [b'"hello"']
        assert at - began < QUICKLY


@pytest.mark.parametrize("url", ["server"], indirect=True)
async def test_nodes_that_cannot_hear_each_other_look_for_themselves(
    nodes: list[Service], server: RedisServer
) -> None:
    assert server.ask("ACL", "SETUSER", "default", "resetchannels") == "+OK"  # cuts who listens
    polling = await waits(nodes[1])
    began = time.monotonic()
    await post(nodes[0], b'"unheard"')
    found, at = await polling
    assert found == [b'"unheard"']
    assert at - began < LONGEST_PAUSE + QUICKLY


@pytest.mark.parametrize("url", ["server"], indirect=True)
async def test_nodes_whose_connections_were_cut_hear_each_other_again(
    nodes: list[Service], server: RedisServer
) -> None:
    assert server.ask("CLIENT", "KILL", "TYPE", "pubsub") == ":2"
    polling = await waits(nodes[1])
    began = time.monotonic()
    await post(nodes[0], b'"hello"')
    assert (await polling)[1] - began < LONGEST_PAUSE + QUICKLY
    async with asyncio.timeout(PATIENCE):
        while server.ask("PUBLISH", CHANNEL, "no hint") != ":2":  # noqa: ASYNC110  so is this
            await asyncio.sleep(0.05)
    await until_heard(nodes)
