"""The model store keeps every promise, and says what it is."""

from collections.abc import AsyncIterator

import pytest

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.memory import open_store
from nuska.testing.clock import START, ManualClock, seeded_bytes
from nuska.testing.conformance import (
    AnnouncementConformance,
    CarriedLogConformance,
    ForgettingConformance,
    RecordConformance,
    StockQuotaConformance,
    StoreConformance,
    TransferConformance,
)


class TestMemoryStore(
    StoreConformance,
    ForgettingConformance,
    RecordConformance,
    TransferConformance,
    AnnouncementConformance,
    CarriedLogConformance,
    StockQuotaConformance,
):
    @pytest.fixture
    async def store(self, clock: ManualClock) -> AsyncIterator[Store]:
        store = await open_store(options("memory:", clock))
        yield store
        await store.close()


def options(url: str, clock: ManualClock) -> StoreOptions:
    return StoreOptions(url=url, data_dir="", now=clock.now(), random_bytes=seeded_bytes())


@pytest.mark.parametrize("url", ["memory://", "memory:x", "memory", "sqlite:"])
async def test_only_one_spelling_opens_a_memory_store(url: str) -> None:
    with pytest.raises(ValueError, match="memory:"):
        await open_store(options(url, ManualClock()))


async def test_a_closed_memory_store_says_so() -> None:
    store = await open_store(options("memory:", ManualClock()))
    await store.close()
    with pytest.raises(Unavailable):
        await store.ping()
    assert (await store.sweep(now=START)).removed == 0
