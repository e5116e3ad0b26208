"""A MongoDB store on a server of its own, which a test may pause, kill and start again."""

import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from nuska.interfaces.storage import StoreOptions
from nuska.stores.mongodb.store import MongoStore, open_mongodb
from nuska.testing.clock import START, seeded_bytes
from nuska.testing.mongodb_server import MongoServer, mongodb_server

Open = Callable[[str], Awaitable[MongoStore]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path / "mongodb") as server:
        yield server


@pytest.fixture
async def open_at() -> AsyncIterator[Open]:
    """Open a store at a URL; closed with the test."""
    opened: list[MongoStore] = []

    async def open_one(url: str) -> MongoStore:
        options = StoreOptions(
            url=url, data_dir="", now=START, random_bytes=seeded_bytes(len(opened))
        )
        opened.append(await open_mongodb(options))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()
    gc.collect()  # here, where a socket that is left over is expected


@pytest.fixture
async def store(server: MongoServer, open_at: Open) -> MongoStore:
    return await open_at(server.url())
