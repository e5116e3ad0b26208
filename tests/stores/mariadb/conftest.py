"""A MariaDB store on a server of its own, which a test may pause, kill and start again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from nuska.interfaces.storage import Durability, StoreOptions
from nuska.stores.sql.store import SqlStore, open_sql
from nuska.testing.clock import START, seeded_bytes
from nuska.testing.mariadb_server import MariadbServer, mariadb_server

Open = Callable[..., Awaitable[SqlStore]]


@pytest.fixture
def server() -> Iterator[MariadbServer]:
    with mariadb_server() as server:
        yield server


@pytest.fixture
async def open_at() -> AsyncIterator[Open]:
    """Open a store at a URL; closed with the test."""
    opened: list[SqlStore] = []

    async def open_one(url: str, *, required: Durability = Durability.NONE) -> SqlStore:
        options = StoreOptions(
            url=url,
            data_dir="",
            now=START,
            random_bytes=seeded_bytes(len(opened)),
            required=required,
        )
        opened.append(await open_sql(options))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(server: MariadbServer, open_at: Open) -> SqlStore:
    return await open_at(server.url())
