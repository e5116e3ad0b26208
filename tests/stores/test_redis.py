"""Redis keeps every promise: on one server, on a cluster, and behind sentinels."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest

from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.redis import open_store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance import DurabilityConformance, Reopen, StoreConformance
from nuska.testing.redis_server import redis_cluster, redis_server, sentinel_setup

NUMBERS = count()


class Openings:
    """A part of a server that is this test's alone, and the store that is open on it."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.url = f"{url}?prefix=test-{next(NUMBERS)}:"
        self.clock = clock
        self.random_bytes = seeded_bytes()
        self.current: Store | None = None

    async def open(self) -> Store:
        await self.close()
        self.current = await open_store(
            StoreOptions(
                url=self.url,
                data_dir="",
                now=self.clock.now(),
                random_bytes=self.random_bytes,
            )
        )
        return self.current

    async def close(self) -> None:
        if self.current is not None:
            await self.current.close()


class RedisConformance(StoreConformance, DurabilityConformance):
    """The suite, given ``url``."""

    @pytest.fixture
    def openings(self, url: str, clock: ManualClock) -> Openings:
        return Openings(url, clock)

    @pytest.fixture
    async def store(self, openings: Openings) -> AsyncIterator[Store]:
        yield await openings.open()
        await openings.close()

    @pytest.fixture
    def reopen(self, openings: Openings) -> Reopen:
        return openings.open


@pytest.fixture(scope="module")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(scope="module")
def cluster_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture(scope="module")
def sentinel_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sentinel_setup(tmp_path_factory.mktemp("sentinel")) as setup:
        yield setup.url


class TestRedisServer(RedisConformance):
    @pytest.fixture
    def url(self, server_url: str) -> str:
        return server_url


class TestRedisCluster(RedisConformance):
    @pytest.fixture
    def url(self, cluster_url: str) -> str:
        return cluster_url


class TestRedisBehindSentinel(RedisConformance):
    @pytest.fixture
    def url(self, sentinel_url: str) -> str:
        return sentinel_url
