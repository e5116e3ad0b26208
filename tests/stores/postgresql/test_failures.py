"""A server that is killed, paused or restarted: refused clearly, recovered alone."""

from collections.abc import Iterator

import pytest

from nuska.domain.errors import Unavailable
from nuska.stores.sql.database import ANSWER_WITHIN
from nuska.stores.sql.dialects.interface import CONNECT_WITHIN
from nuska.testing.conformance import (
    FailureConformance,
    LostHintConformance,
    NetworkFaultConformance,
    ServiceFailureConformance,
)
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server


@pytest.fixture(scope="module")
def failing_server() -> Iterator[PostgresqlServer]:
    with postgresql_server() as server:
        yield server


class TestPostgresql(FailureConformance, NetworkFaultConformance, LostHintConformance):
    BOUND = ANSWER_WITHIN + CONNECT_WITHIN

    @pytest.fixture
    def engine(self, failing_server: PostgresqlServer) -> PostgresqlServer:
        return failing_server


class TestServiceOnPostgresql(ServiceFailureConformance):
    SETUP = "postgresql"
    BOUND = 2 * (ANSWER_WITHIN + CONNECT_WITHIN) + 2
    OUTAGE = ANSWER_WITHIN + 1

    @pytest.fixture
    def engine(self, failing_server: PostgresqlServer) -> PostgresqlServer:
        return failing_server


async def test_a_database_that_is_not_there_is_named_as_the_cause(
    server: PostgresqlServer, open_at
) -> None:
    with pytest.raises(Unavailable, match="3D000"):
        await open_at(server.url("nowhere"))
