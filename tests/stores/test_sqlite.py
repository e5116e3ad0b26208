"""The embedded store keeps every promise, also after it was closed and opened again."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.sqlite import open_store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance import (
    AnnouncementConformance,
    CarriedLogConformance,
    DurabilityConformance,
    DurableLogConformance,
    ForgettingConformance,
    RecordConformance,
    Reopen,
    StockQuotaConformance,
    StoreConformance,
    TransferConformance,
)


class Openings:
    """One data directory and the store that is open on it now."""

    def __init__(self, directory: Path, clock: ManualClock) -> None:
        self.directory = directory
        self.clock = clock
        self.random_bytes = seeded_bytes()
        self.current: Store | None = None

    async def open(self) -> Store:
        await self.close()
        self.current = await open_store(
            StoreOptions(
                url="sqlite:",
                data_dir=str(self.directory),
                now=self.clock.now(),
                random_bytes=self.random_bytes,
            )
        )
        return self.current

    async def close(self) -> None:
        if self.current is not None:
            await self.current.close()


class TestSqliteStore(
    StoreConformance,
    ForgettingConformance,
    RecordConformance,
    TransferConformance,
    AnnouncementConformance,
    CarriedLogConformance,
    DurabilityConformance,
    DurableLogConformance,
    StockQuotaConformance,
):
    @pytest.fixture
    def openings(self, tmp_path: Path, clock: ManualClock) -> Openings:
        return Openings(tmp_path, clock)

    @pytest.fixture
    async def store(self, openings: Openings) -> AsyncIterator[Store]:
        yield await openings.open()
        await openings.close()

    @pytest.fixture
    def reopen(self, openings: Openings) -> Reopen:
        return openings.open
