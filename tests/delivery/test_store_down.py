"""A store that does not answer stops deliveries, and nobody has to start them again."""

import asyncio
from typing import Any, cast

import pytest

from nuska.delivery.bounds import DeliveryBounds
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import DeliveryBench
from nuska.testing.dying_store import DumbStore

WHO = "http://a.example/"
SOON = 15.0


@pytest.mark.parametrize("under_way", [False, True])
async def test_deliveries_go_on_by_themselves_when_the_store_answers_again(
    clock: ManualClock, under_way: bool
) -> None:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    bench = DeliveryBench(store, clock)
    subscription = await bench.subscribe(WHO)
    dumb = DumbStore(store)
    bench.store = cast(Any, dumb)
    engine = bench.new_engine(DeliveryBounds(flush_interval=0.05))
    running = asyncio.create_task(engine.run())
    await bench.post("before")
    await told(bench, 1)
    if under_way:
        bench.sender.hanging[WHO] = asyncio.Event()
        await bench.post("meanwhile")
        await bench.sender.wait_under_way(WHO, 1)
    dumb.is_dumb = True
    dumb.refused.clear()
    bench.store = store
    await bench.post("after")
    if under_way:
        bench.sender.hanging.pop(WHO).set()
    async with asyncio.timeout(SOON):
        await dumb.refused.wait()
    dumb.is_dumb = False
    await told(bench, 3 if under_way else 2)
    await engine.stop()
    await running
    expected = {"before", "after", "meanwhile"} if under_way else {"before", "after"}
    assert set(bench.sender.bodies()) == expected
    done = [a.message for a in await bench.attempts(subscription) if a.ok]
    assert len(set(done)) == len(set(bench.sender.bodies()))
    assert len(bench.sender.bodies()) == len(set(bench.sender.bodies()))


async def told(bench: DeliveryBench, count: int) -> None:
    """Until so many deliveries have begun."""
    async with asyncio.timeout(SOON):
        while len(bench.sender.sent) < count:
            bench.sender.began.clear()
            await bench.sender.began.wait()
