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
from nuska.testing.mariadb_server import MariadbServer, mariadb_server


@pytest.fixture(scope="module")
def failing_server() -> Iterator[MariadbServer]:
    with mariadb_server() as server:
        yield server


class TestMariadb(FailureConformance, NetworkFaultConformance, LostHintConformance):
    BOUND = ANSWER_WITHIN + CONNECT_WITHIN

    @pytest.fixture
    def engine(self, failing_server: MariadbServer) -> MariadbServer:
        return failing_server


class TestServiceOnMariadb(ServiceFailureConformance):
    SETUP = "mariadb"
    BOUND = 2 * (ANSWER_WITHIN + CONNECT_WITHIN) + 2
    OUTAGE = ANSWER_WITHIN + 1

    @pytest.fixture
    def engine(self, failing_server: MariadbServer) -> MariadbServer:
        return failing_server


async def test_a_database_that_is_not_there_is_named_as_the_cause(
    server: MariadbServer, open_at
) -> None:
    with pytest.raises(Unavailable, match="1049, there is no such database"):
        await open_at(server.url("nowhere"))
