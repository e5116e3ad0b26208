"""Redis keeps every promise: on one server, on a cluster, and behind sentinels."""

from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from nuska.domain.moments import Moment
from nuska.interfaces.storage import RandomBytes, Store, StoreOptions
from nuska.stores.redis import open_store
from nuska.stores.redis.store import RedisStore, open_redis
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance import DurabilityConformance, Reopen, StoreConformance
from nuska.testing.redis_server import redis_cluster, redis_server, sentinel_setup
from nuska.testing.state_machine import Lockstep

NUMBERS = count()
QUICK = settings(
    max_examples=30,
    stateful_step_count=50,
    phases=[Phase.reuse, Phase.generate],  # a shrunk example costs minutes here
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
THOROUGH = settings(QUICK, max_examples=150, stateful_step_count=80)


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


class Beside(Lockstep):
    """The model store and a Redis store at ``url``."""

    durable = True
    url: ClassVar[str]

    def __init__(self) -> None:
        self.prefix = f"lockstep-{next(NUMBERS)}:"
        self.opened: RedisStore | None = None
        super().__init__()

    async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
        url = f"{self.url}?prefix={self.prefix}"
        options = StoreOptions(url=url, data_dir="", now=now, random_bytes=random_bytes)
        before, self.opened = self.opened, await open_redis(options)
        if before is not None:  # so that ids go on being those of the model
            self.opened.messages.unused_salts = before.messages.unused_salts
        return self.opened


def beside(there: str) -> type[Beside]:
    class BesideRedis(Beside):
        url = there

    return BesideRedis


def test_redis_answers_as_the_model_does(server_url: str) -> None:
    run_state_machine_as_test(beside(server_url), settings=QUICK)


def test_a_cluster_answers_as_the_model_does(cluster_url: str) -> None:
    run_state_machine_as_test(beside(cluster_url), settings=QUICK)


@pytest.mark.slow
def test_redis_answers_as_the_model_does_for_long(server_url: str) -> None:
    run_state_machine_as_test(beside(server_url), settings=THOROUGH)


@pytest.mark.slow
def test_a_cluster_answers_as_the_model_does_for_long(cluster_url: str) -> None:
    run_state_machine_as_test(beside(cluster_url), settings=THOROUGH)


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
