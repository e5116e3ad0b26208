"""Deliveries from queues that lie in pools, and move between them."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from nuska.domain.pools import Pool
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.stores.memory import MemoryStore
from nuska.stores.pooled import PooledStore, pooled
from nuska.stores.pooled.catalogue import POOLS
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import REFUSED, DeliveryBench

HERE, THERE = "http://here", "http://there"


@pytest.fixture
async def together(clock: ManualClock) -> AsyncIterator[PooledStore]:
    """Two pools; a queue gets into ``b`` only when it is moved."""
    names = ("own", "a", "b")
    stores = {
        name: MemoryStore(now=clock.now(), random_bytes=seeded_bytes(number))
        for number, name in enumerate(names)
    }

    async def open_pool(uri: str) -> PoolableStore:
        return stores[uri]

    for name, weight in (("a", 1), ("b", 0)):
        pool = msgspec.json.encode(Pool(name=name, uri=name, weight=weight))
        await stores["own"].records.put(POOLS, name, pool, version=ABSENT)
    store = pooled(stores["own"], open_pool, clock, seeded_bytes(9))
    yield store
    await store.close()


@pytest.fixture
async def bench(together: PooledStore, clock: ManualClock) -> AsyncIterator[DeliveryBench]:
    bench = DeliveryBench(together, clock)
    yield bench
    await bench.engine.stop()


async def test_subscribers_are_told_once_of_everything_through_a_move(
    together: PooledStore, bench: DeliveryBench
) -> None:
    await bench.subscribe(HERE)
    await bench.subscribe(THERE)
    bench.sender.answers[THERE] = REFUSED
    await bench.post("one")
    await bench.engine.settled()
    assert await together.mover.move(bench.queue, "b")
    await bench.post("two")
    await bench.engine.settled()
    del bench.sender.answers[THERE]
    await bench.pass_time(60)
    assert bench.sender.bodies(HERE) == ["one", "two"]
    assert {"one", "two"} <= set(bench.sender.bodies(THERE))
    assert await together.queues.count("acme") == 1


async def test_subscribers_are_told_of_the_queue_that_is_made_again_in_another_pool(
    together: PooledStore, bench: DeliveryBench
) -> None:
    await bench.subscribe(HERE)
    await bench.post("before")
    await bench.engine.settled()
    await together.queues.delete(bench.queue, now=bench.clock.now())
    for name, weight in (("a", 0), ("b", 1)):
        await together.placement.put_pool(Pool(name=name, uri=name, weight=weight))
    await bench.post("after")
    await bench.pass_time(5)
    pin = await together.placing.pin(bench.queue)
    assert pin is not None
    assert pin.pool == "b"
    assert bench.sender.bodies(HERE) == ["before", "after"]
