"""MongoDB keeps every promise: a replica set of one."""

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis.stateful import run_state_machine_as_test

from nuska.domain.moments import Moment
from nuska.interfaces.storage import RandomBytes, Store, StoreOptions
from nuska.stores.mongodb import open_store
from nuska.testing.conformance import (
    AnnouncementConformance,
    ByUrlConformance,
    CarriedLogConformance,
    DurableLogConformance,
    ForgettingConformance,
    RecordConformance,
    SharedLogConformance,
    SharedStockQuotaConformance,
    StockQuotaConformance,
    TransferConformance,
)
from nuska.testing.listening_machine import LockstepWithLogs
from nuska.testing.mongodb_server import MongoServer, mongodb_server
from nuska.testing.walks import walks

NUMBERS = count()
WALKS = walks(10, steps=40)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


class TestMongodb(
    ByUrlConformance,
    ForgettingConformance,
    RecordConformance,
    TransferConformance,
    AnnouncementConformance,
    CarriedLogConformance,
    DurableLogConformance,
    SharedLogConformance,
    SharedStockQuotaConformance,
    StockQuotaConformance,
):
    @pytest.fixture
    def url(self, server: MongoServer) -> Iterator[str]:
        with server.database() as url:
            yield url


@pytest.mark.slow
def test_mongodb_answers_as_the_model_does(server: MongoServer) -> None:
    class Beside(LockstepWithLogs):
        """The model store and a MongoDB store."""

        durable = True

        def __init__(self) -> None:
            self.database = f"lockstep-{next(NUMBERS)}"
            super().__init__()

        async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
            url = server.url(self.database)
            return await open_store(
                StoreOptions(url=url, data_dir="", now=now, random_bytes=random_bytes)
            )

        def teardown(self) -> None:
            super().teardown()
            server.drop(self.database)

    run_state_machine_as_test(Beside, settings=WALKS)
