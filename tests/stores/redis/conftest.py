"""A Redis store on a server of its own, which a test may pause, kill and start again."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from nuska.interfaces.storage import Store
from nuska.testing.opening import Open, opening_stores
from nuska.testing.redis_server import RedisServer, SentinelSetup, redis_server, sentinel_setup


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
async def open_at() -> AsyncIterator[Open]:
    """Open a store at a URL; closed with the test."""
    async with opening_stores() as open_at:
        yield open_at


@pytest.fixture
async def store(server: RedisServer, open_at: Open) -> Store:
    return await open_at(server.url)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[SentinelSetup]:
    with sentinel_setup(tmp_path) as setup:
        yield setup
