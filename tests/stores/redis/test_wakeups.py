"""A long poll on one node wakes for what another node posts, heard or not (D13)."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nuska.assembly import Service
from nuska.domain.messages import QueueRef
from nuska.stores.redis.hints import LONGEST_PAUSE
from nuska.stores.redis.names import Names
from nuska.testing.conformance.wakeups import (
    PATIENCE,
    QUICKLY,
    WakeupConformance,
    post,
    until_heard,
    waits,
)
from nuska.testing.redis_server import RedisServer, redis_cluster

CHANNEL = Names("nuska:").hints


@pytest.fixture(params=["server", "cluster", "watched"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "cluster":
        with redis_cluster(tmp_path) as cluster:
            yield cluster.url
    else:
        yield request.getfixturevalue(request.param).url


async def until_told(heard: asyncio.Queue[object], node: Service, queue: str) -> None:
    """Until a post on ``node`` is heard; what was posted before anybody listened may not be."""
    async with asyncio.timeout(PATIENCE):
        while True:
            await post(node, b"1", queue)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    while await heard.get() != QueueRef("acme", queue):
                        pass
                    return


class TestRedisWakeups(WakeupConformance):
    @pytest.mark.parametrize("url", ["server"], indirect=True)
    async def test_nodes_that_cannot_hear_each_other_look_for_themselves(
        self, nodes: list[Service], server: RedisServer
    ) -> None:
        assert server.ask("ACL", "SETUSER", "default", "resetchannels") == "+OK"  # cuts who listens
        polling = await waits(nodes[1])
        began = time.monotonic()
        await post(nodes[0], b'"unheard"')
        found, at = await polling
        assert found == [b'"unheard"']
        assert at - began < LONGEST_PAUSE + QUICKLY

    async def test_who_overhears_a_node_hears_what_others_take_in_for_queues_he_follows(
        self, nodes: list[Service]
    ) -> None:
        here, there = nodes
        everything, some = asyncio.Queue[object](), asyncio.Queue[object]()
        all_of_it = here.core.wakeups.overhear(lambda ref, _: everything.put_nowait(ref))
        following = here.core.wakeups.overhear(
            lambda ref, _: some.put_nowait(ref), everything=False
        )
        try:
            await until_told(everything, there, "any")
        finally:
            all_of_it.stop()
        following.follow(QueueRef("acme", "followed"))
        await until_told(some, there, "followed")
        following.unfollow(QueueRef("acme", "followed"))
        await post(here, b"1", "of this node")
        async with asyncio.timeout(PATIENCE):
            while await some.get() != QueueRef("acme", "of this node"):
                pass
        following.stop()

    @pytest.mark.parametrize("url", ["server"], indirect=True)
    async def test_nodes_whose_connections_were_cut_hear_each_other_again(
        self, nodes: list[Service], server: RedisServer
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
