"""PostgreSQL keeps every promise."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.sql import open_store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance import DurabilityConformance, Reopen, StoreConformance
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server


class Openings:
    """A database that is this test's alone, and the store that is open on it."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.url = url
        self.clock = clock
        self.random_bytes = seeded_bytes()
        self.current: Store | None = None

    async def open(self) -> Store:
        await self.close()
        self.current = await open_store(
            StoreOptions(
                url=self.url,
                data_dir="",
                now=self.clock.now(),
                random_bytes=self.random_bytes,
            )
        )
        return self.current

    async def close(self) -> None:
        if self.current is not None:
            await self.current.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


class TestPostgresql(StoreConformance, DurabilityConformance):
    @pytest.fixture
    async def openings(
        self, server: PostgresqlServer, clock: ManualClock
    ) -> AsyncIterator[Openings]:
        async with AsyncExitStack() as stack:
            openings = Openings(await stack.enter_async_context(server.database()), clock)
            stack.push_async_callback(openings.close)
            yield openings

    @pytest.fixture
    async def store(self, openings: Openings) -> Store:
        return await openings.open()

    @pytest.fixture
    def reopen(self, openings: Openings) -> Reopen:
        return openings.open
