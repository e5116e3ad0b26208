"""PostgreSQL keeps every promise."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from nuska.domain.moments import Moment
from nuska.interfaces.storage import RandomBytes, Store, StoreOptions
from nuska.stores.sql import open_store
from nuska.testing.conformance import (
    AnnouncementConformance,
    ByUrlConformance,
    CarriedLogConformance,
    ForgettingConformance,
    RecordConformance,
    SharedLogConformance,
    SharedStockQuotaConformance,
    StockQuotaConformance,
    TransferConformance,
)
from nuska.testing.listening_machine import LockstepWithLogs
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server
from nuska.testing.walks import walks

NUMBERS = count()
WALKS = walks(10, steps=50)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


def beside(there: PostgresqlServer) -> type[LockstepWithLogs]:
    """The model store and a PostgreSQL store on this server."""

    class BesidePostgresql(LockstepWithLogs):
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


@pytest.mark.slow
def test_postgresql_answers_as_the_model_does(server: PostgresqlServer) -> None:
    run_state_machine_as_test(beside(server), settings=WALKS)


class TestPostgresql(
    ByUrlConformance,
    ForgettingConformance,
    RecordConformance,
    TransferConformance,
    AnnouncementConformance,
    CarriedLogConformance,
    SharedLogConformance,
    SharedStockQuotaConformance,
    StockQuotaConformance,
):
    @pytest.fixture
    async def url(self, server: PostgresqlServer) -> AsyncIterator[str]:
        async with server.database() as url:
            yield url
