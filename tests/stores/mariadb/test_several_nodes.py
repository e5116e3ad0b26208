"""Several processes on one MariaDB; and nodes whose clocks differ by a little."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance import LaggingClockConformance, ProcessConformance
from nuska.testing.mariadb_server import MariadbServer, mariadb_server
from nuska.testing.two_clocks import NewUrl


@pytest.fixture(scope="module")
def shared_server() -> Iterator[MariadbServer]:
    with mariadb_server() as server:
        yield server


class TestMariadb(LaggingClockConformance, ProcessConformance):
    @pytest.fixture
    def new_url(self, shared_server: MariadbServer) -> NewUrl:
        return shared_server.new_url
