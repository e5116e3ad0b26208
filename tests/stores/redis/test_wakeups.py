"""A long poll on one node wakes for what another node posts, heard or not (D13)."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.assembly import Service
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


@pytest.fixture(params=["server", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "server":
        yield request.getfixturevalue("server").url
    else:
        with redis_cluster(tmp_path) as cluster:
            yield cluster.url


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
