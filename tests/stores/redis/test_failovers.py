"""A primary dies under load and a replica takes over: what was acknowledged under a demanded
majority is there, what was not may be, and nothing is there twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from nuska.interfaces.storage import Durability
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import log_of
from nuska.testing.conformance.failures import Load, until_posted
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.engine import within
from nuska.testing.opening import Open, opening_stores
from nuska.testing.redis_server import (
    REDIS,
    SYNCED,
    VALKEY,
    RedisCluster,
    RedisServer,
    SentinelSetup,
    leads,
    redis_cluster,
    sentinel_setup,
)

BOUND = 15.0
"""Seconds after which every write was answered: to be connected, twice, and confirmed."""
FAILS_OVER_WITHIN = 30.0
EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")
POSTS = 1_000_000
FEW = 20
"""Posts after which a load is under way: with appendfsync everysec each takes up to a second."""

pytestmark = pytest.mark.slow


class Watched:
    """Behind Sentinel, with two replicas: one may die and there still is a majority."""

    @pytest.fixture
    async def inbox(self, setup: SentinelSetup) -> AsyncIterator[Inbox]:
        async with opening_stores() as open_at:
            store = await open_at(setup.new_url(), required=Durability.MAJORITY)
            assert store.capabilities.durability is Durability.MAJORITY
            yield Inbox(store, ManualClock())

    async def test_a_failover_under_load_loses_no_acknowledged_write(
        self, setup: SentinelSetup, inbox: Inbox
    ) -> None:
        await log_of(inbox).open()
        load = Load(inbox, BOUND)
        async with load:
            await load.is_under_way(FEW)
            setup.primary.kill()
            await asyncio.to_thread(setup.wait_until_replica_leads)
            await load.is_under_way(FEW)
        assert load.unknown, "the failover was not noticed, so this shows nothing"
        load.check(await inbox.listed(limit=POSTS))
        assert await log_of(inbox).bodies(limit=POSTS) == await inbox.listed(limit=POSTS)

    async def test_a_claim_and_a_deletion_outlive_a_failover(
        self, setup: SentinelSetup, inbox: Inbox
    ) -> None:
        held_id, done_id, _ = await inbox.post("held", "done", "free")
        await inbox.claim(1, limit=2)
        await inbox.delete(done_id, claim=1)
        setup.primary.kill()
        await asyncio.to_thread(setup.wait_until_replica_leads)
        await until_posted(inbox, "after")
        held = await inbox.held(1)
        assert held is not None
        assert [message.id for message in held.messages] == [held_id]
        assert await inbox.listed() == ["free", "after"]


class TestRedisSentinel(Watched):
    SETUP = "redis sentinel"

    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[SentinelSetup]:
        with sentinel_setup(tmp_path, SYNCED, REDIS, replicas=2) as setup:
            yield setup


class TestValkeySentinel(Watched):
    """With appendfsync everysec: it is WAITAOF that syncs, here and on a replica."""

    SETUP = "valkey"

    @pytest.fixture
    def setup(self, tmp_path: Path) -> Iterator[SentinelSetup]:
        with sentinel_setup(tmp_path, EVERYSEC, VALKEY, replicas=2) as setup:
            yield setup


@pytest.mark.parametrize("program", [REDIS, VALKEY])
async def test_a_cluster_with_replicas_loses_no_acknowledged_write_in_a_failover(
    tmp_path: Path, program: str
) -> None:
    with redis_cluster(tmp_path, SYNCED, program, replicas=1) as cluster:
        async with opening_stores() as open_at:
            await survives_the_loss_of_a_primary(cluster, open_at)


async def survives_the_loss_of_a_primary(cluster: RedisCluster, open_at: Open) -> None:
    """Each primary has one replica, so a majority is both: the queues of the one that died are
    there to read, and take writes again once it has come back as a replica."""
    store = await open_at(cluster.new_url(), required=Durability.MAJORITY)
    boxes = [Inbox(store, ManualClock(), name=f"box-{number}") for number in range(9)]
    await asyncio.gather(*(log_of(box).open() for box in boxes))
    loads = [Load(box, BOUND) for box in boxes]
    async with AsyncExitStack() as stack:
        for load in loads:
            await stack.enter_async_context(load)
        await asyncio.gather(*(load.is_under_way(FEW) for load in loads))
        lost = cluster.primaries[0]
        lost.kill()
        assert await asyncio.to_thread(within, FAILS_OVER_WITHIN, lambda: replaced(cluster, lost))
        lost.start()
        await asyncio.gather(*(load.is_under_way(FEW) for load in loads))
    assert any(load.unknown for load in loads), "the failover was not noticed"
    for box, load in zip(boxes, loads, strict=True):
        load.check(await box.listed(limit=POSTS))
        assert await log_of(box).bodies(limit=POSTS) == await box.listed(limit=POSTS)


def replaced(cluster: RedisCluster, lost: RedisServer) -> bool:
    """Whether a replica has taken over from it."""
    return sum(leads(server) for server in cluster.servers if server is not lost) == 3
