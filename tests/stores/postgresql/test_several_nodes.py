"""Several processes on one PostgreSQL; and nodes whose clocks differ by a little."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance import LaggingClockConformance, ProcessConformance
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server
from nuska.testing.two_clocks import NewUrl


@pytest.fixture(scope="module")
def shared_server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


class TestPostgresql(LaggingClockConformance, ProcessConformance):
    @pytest.fixture
    def new_url(self, shared_server: PostgresqlServer) -> NewUrl:
        return shared_server.new_url
