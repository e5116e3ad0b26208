"""A database of its own for each test, on either kind of server: those that the run asks for."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.mariadb_server import MariadbServer, mariadb_server
from nuska.testing.opening import opening_stores
from nuska.testing.postgresql_server import PostgresqlServer, postgresql_server

Server = PostgresqlServer | MariadbServer
SERVERS = {"postgresql": postgresql_server, "mariadb": mariadb_server}
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    "mariadb": "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}
SOON = 3
LOOK_EVERY = 0.15
"""Seconds; MariaDB shows what it showed before to who asks again within a tenth."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        asked = str(metafunc.config.getoption("stores")).split(",")
        kinds = [kind for kind in SERVERS if kind in asked]
        metafunc.parametrize("kind", kinds, scope="module")


@pytest.fixture(scope="module")
def server(kind: str) -> Iterator[Server]:
    with SERVERS[kind]() as server:
        yield server


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    async with server.database() as url:
        yield url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store(url: str, clock: ManualClock) -> AsyncIterator[SqlStore]:
    async with opening_stores() as open_at:
        store = await open_at(url, now=clock.now())
        assert isinstance(store, SqlStore)
        yield store


@pytest.fixture
def somebody_waits(kind: str, server: Server):
    """Returns when the server has somebody wait for a lock."""

    async def seen() -> None:
        async with asyncio.timeout(SOON):
            while not await server.ask(WAITING[kind]):  # noqa: ASYNC110  it is another process
                await asyncio.sleep(LOOK_EVERY)

    return seen
