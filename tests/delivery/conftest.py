from collections.abc import AsyncIterator

import pytest

from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import DeliveryBench


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bench(clock: ManualClock) -> AsyncIterator[DeliveryBench]:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    bench = DeliveryBench(store, clock)
    yield bench
    await bench.engine.stop()
    await store.close()
