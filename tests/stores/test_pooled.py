"""Several stores as one keep every promise of a store."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from nuska.domain.pools import Pool
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.interfaces.storage import Store
from nuska.stores.memory.store import MemoryStore
from nuska.stores.pooled import PooledStore, pooled
from nuska.stores.pooled.catalogue import POOLS
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance import (
    AnnouncementConformance,
    RecordConformance,
    StockQuotaConformance,
    StoreConformance,
)


class Memories:
    """Stores in memory by URI, for as long as the test lasts: a pool that is opened again has
    what it had."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.stores: dict[str, MemoryStore] = {}

    async def open(self, uri: str) -> PoolableStore:
        if uri not in self.stores:
            self.stores[uri] = MemoryStore(
                now=self.clock.now(), random_bytes=seeded_bytes(len(self.stores))
            )
        return self.stores[uri]


async def open_pooled(clock: ManualClock, *pools: Pool) -> PooledStore:
    memories = Memories(clock)
    own = await memories.open("own")
    for pool in pools:
        await own.records.put(POOLS, pool.name, msgspec.json.encode(pool), version=ABSENT)
    return pooled(own, memories.open, clock, seeded_bytes(9))


class TestTheOwnStoreAlone(
    StoreConformance, RecordConformance, AnnouncementConformance, StockQuotaConformance
):
    @pytest.fixture
    async def store(self, clock: ManualClock) -> AsyncIterator[Store]:
        store = await open_pooled(clock)
        yield store
        await store.close()


class TestThreePools(
    StoreConformance, RecordConformance, AnnouncementConformance, StockQuotaConformance
):
    @pytest.fixture
    async def store(self, clock: ManualClock) -> AsyncIterator[Store]:
        pools = [Pool(name=name, uri=name, weight=10) for name in ("a", "b", "c")]
        store = await open_pooled(clock, *pools)
        yield store
        await store.close()
