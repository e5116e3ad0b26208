"""Many clients in several processes on one MariaDB, with clocks that are right and wrong."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance import ProcessConformance
from nuska.testing.mariadb_server import MariadbServer, mariadb_server


@pytest.fixture(scope="module")
def shared_server() -> Iterator[MariadbServer]:
    with mariadb_server() as server:
        yield server


class TestMariadb(ProcessConformance):
    SETUP = "mariadb"

    @pytest.fixture
    def url(self, shared_server: MariadbServer) -> str:
        return shared_server.new_url()
