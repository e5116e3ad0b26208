"""Several processes on one MongoDB; and nodes whose clocks differ by a little."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance import LaggingClockConformance, ProcessConformance
from nuska.testing.mongodb_server import MongoServer, mongodb_server
from nuska.testing.two_clocks import NewUrl


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


class TestMongodb(LaggingClockConformance, ProcessConformance):
    @pytest.fixture
    def new_url(self, shared_server: MongoServer) -> NewUrl:
        return shared_server.new_url
