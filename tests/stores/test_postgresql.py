"""PostgreSQL keeps every promise."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from nuska.domain.moments import Moment
from nuska.interfaces.storage import RandomBytes, Store, StoreOptions
from nuska.stores.sql import open_store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance import DurabilityConformance, Reopen, StoreConformance
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server
from nuska.testing.state_machine import Lockstep

NUMBERS = count()
QUICK = settings(
    max_examples=15,
    stateful_step_count=50,
    phases=[Phase.reuse, Phase.generate],  # a shrunk example costs minutes here
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
THOROUGH = settings(QUICK, max_examples=100, stateful_step_count=80)


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


def beside(there: PostgresqlServer) -> type[Lockstep]:
    """The model store and a PostgreSQL store on this server."""

    class BesidePostgresql(Lockstep):
        durable = True
        server: ClassVar[PostgresqlServer] = there

        def __init__(self) -> None:
            self.database: str | None = None
            super().__init__()

        async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
            if self.database is None:
                self.database = f"lockstep_{next(NUMBERS)}"
                await self.server.ask(f"CREATE DATABASE {self.database}")
            url = self.server.url(self.database)
            return await open_store(
                StoreOptions(url=url, data_dir="", now=now, random_bytes=random_bytes)
            )

    return BesidePostgresql


def test_postgresql_answers_as_the_model_does(server: PostgresqlServer) -> None:
    run_state_machine_as_test(beside(server), settings=QUICK)


@pytest.mark.slow
def test_postgresql_answers_as_the_model_does_for_long(server: PostgresqlServer) -> None:
    run_state_machine_as_test(beside(server), settings=THOROUGH)


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
