"""The suite for a driver that is opened by URL alone, and keeps what it holds."""

from collections.abc import AsyncIterator

import pytest

from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.durability import DurabilityConformance, Reopen
from nuska.testing.conformance.suite import StoreConformance
from nuska.testing.opening import open_by_url


class Openings:
    """A part of an engine that is this test's alone, and the store that is open on it."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self._url = url
        self._clock = clock
        self._random_bytes = seeded_bytes()
        self._current: Store | None = None

    async def open(self) -> Store:
        """Anew, if it was open."""
        await self.close()
        self._current = await open_by_url(
            self._url, now=self._clock.now(), random_bytes=self._random_bytes
        )
        return self._current

    async def close(self) -> None:
        if self._current is not None:
            await self._current.close()


class ByUrlConformance(StoreConformance, DurabilityConformance):
    """A driver's tests provide ``url``, that of an empty store for every test."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError("a driver's tests provide it")

    @pytest.fixture
    async def openings(self, url: str, clock: ManualClock) -> AsyncIterator[Openings]:
        openings = Openings(url, clock)
        yield openings
        await openings.close()

    @pytest.fixture
    async def store(self, openings: Openings) -> Store:
        return await openings.open()

    @pytest.fixture
    def reopen(self, openings: Openings) -> Reopen:
        return openings.open
