"""A Redis store on a server of its own, which a test may pause, kill and start again."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from nuska.interfaces.storage import Durability, StoreOptions
from nuska.stores.redis.store import RedisStore, open_redis
from nuska.testing.clock import START, seeded_bytes
from nuska.testing.redis_server import RedisServer, SentinelSetup, redis_server, sentinel_setup

Open = Callable[..., Awaitable[RedisStore]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def open_at() -> AsyncIterator[Open]:
    """Open a store at a URL; closed with the test."""
    opened: list[RedisStore] = []

    async def open_one(url: str, *, required: Durability = Durability.NONE) -> RedisStore:
        options = StoreOptions(
            url=url,
            data_dir="",
            now=START,
            random_bytes=seeded_bytes(len(opened)),
            required=required,
        )
        opened.append(await open_redis(options))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.close()


@pytest.fixture
async def store(server: RedisServer, open_at: Open) -> RedisStore:
    return await open_at(server.url)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[SentinelSetup]:
    with sentinel_setup(tmp_path) as setup:
        yield setup
