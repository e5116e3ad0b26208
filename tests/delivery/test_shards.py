"""Several nodes on one store: each queue has one of them, and no message is sent twice for that."""

import asyncio
from typing import Any, cast

import pytest
from msgspec.structs import replace

from nuska.delivery.engine import Engine
from nuska.delivery.shards import ALL, LEASE, Leases
from nuska.domain.messages import QueueRef
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import DeliveryBench

QUEUES = [QueueRef("acme", f"q{n}") for n in range(24)]
WHO = "http://a.example/"


class SharedMemoryStore(MemoryStore):
    """The model as if several nodes had it open."""

    capabilities = replace(MemoryStore.capabilities, shared=True)


class Nodes:
    """Engines on one store, which hear of every post."""

    def __init__(self, bench: DeliveryBench, count: int) -> None:
        self.bench = bench
        self.engines = [bench.new_engine() for _ in range(count)]

    async def settled(self) -> None:
        for _ in range(4):  # one gives back what another then takes
            for engine in self.engines:
                await engine.settled()

    async def post(self, *bodies: str) -> None:
        for queue in QUEUES:
            await self.bench.post(*bodies, queue=queue)
            for engine in self.engines:
                engine.overhear(queue, len(bodies))

    def followed(self) -> list[set[QueueRef]]:
        return [set(engine.followers) for engine in self.engines]


@pytest.fixture
async def bench(clock: ManualClock) -> DeliveryBench:
    store = SharedMemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    bench = DeliveryBench(store, clock)
    for queue in QUEUES:
        await bench.subscribe(WHO, queue=queue)
    return bench


async def test_nodes_share_queues_and_send_each_message_once(bench: DeliveryBench) -> None:
    nodes = Nodes(bench, 3)
    await nodes.settled()
    await nodes.post("one")
    await nodes.settled()
    followed = nodes.followed()
    assert set.union(*followed) == set(QUEUES)
    assert sum(map(len, followed)) == len(QUEUES)
    assert all(followed)
    assert len(bench.sender.sent) == len(QUEUES)


async def test_a_node_that_comes_gets_its_share_and_one_that_stops_leaves_all_in_order(
    bench: DeliveryBench,
) -> None:
    nodes = Nodes(bench, 1)
    await nodes.settled()
    await nodes.post("one")
    await nodes.settled()
    nodes.engines.append(bench.new_engine())
    await nodes.settled()
    assert all(nodes.followed())
    await nodes.post("two")
    await nodes.settled()
    await nodes.engines.pop(0).stop()
    await nodes.post("three")
    await nodes.settled()
    assert nodes.followed() == [set(QUEUES)]
    assert sorted(bench.sender.bodies()) == sorted(["one", "two", "three"] * len(QUEUES))


async def test_what_a_dead_node_had_is_taken_over_when_its_leases_end(
    bench: DeliveryBench, clock: ManualClock
) -> None:
    nodes = Nodes(bench, 2)
    await nodes.settled()
    dead = nodes.engines.pop(0)
    await nodes.post("one")
    await nodes.settled()
    assert len(bench.sender.sent) < len(QUEUES)
    clock.advance(milliseconds=LEASE)
    await nodes.settled()
    assert bench.sender.bodies() == ["one"] * len(QUEUES)
    await dead.stop()
    assert len(bench.sender.sent) == len(QUEUES)


async def test_a_node_that_stood_still_does_nothing_for_what_others_have_by_then(
    bench: DeliveryBench, clock: ManualClock
) -> None:
    nodes = Nodes(bench, 2)
    await nodes.settled()
    stopped, other = nodes.engines
    nodes.engines = [other]
    clock.advance(milliseconds=LEASE)
    await nodes.settled()
    for queue in QUEUES:
        await bench.post("one", queue=queue)
        stopped.overhear(queue, 1)
    stopped.step()
    await asyncio.sleep(0)
    assert not stopped.followers
    nodes.engines = [stopped, other]
    await nodes.post("two")
    await nodes.settled()
    assert sorted(bench.sender.bodies()) == sorted(["one", "two"] * len(QUEUES))


async def test_no_shard_is_ever_relied_on_by_two_whatever_order_they_renew_in(
    clock: ManualClock,
) -> None:
    store = SharedMemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    order = seeded_bytes(3)
    nodes = [Leases(store.records, clock, f"node{n}") for n in range(5)]

    async def let_go(_: str) -> None:
        return

    for _ in range(400):
        await nodes[order(1)[0] % len(nodes)].renew(let_go)
        clock.advance(milliseconds=order(1)[0] * 20)
        held = [shard for node in nodes for shard in node.ours()]
        assert len(held) == len(set(held))
    for _ in range(3):
        for node in nodes:
            await node.renew(let_go)
    held = [shard for node in nodes for shard in node.ours()]
    assert sorted(held) == sorted(ALL)
    assert max(len(node.ours()) for node in nodes) <= 4


def test_an_engine_on_a_store_of_one_process_asks_nobody(clock: ManualClock) -> None:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    engine = Engine(cast(Any, store), clock, seeded_bytes(), {}, may_be_told=lambda _: True)
    assert engine._shards.ours() == ALL
