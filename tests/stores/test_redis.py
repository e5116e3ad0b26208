"""Redis keeps every promise: on one server, on a cluster, and behind sentinels; so does Valkey."""

from collections.abc import Iterator
from itertools import count
from typing import ClassVar

import pytest
from hypothesis.stateful import run_state_machine_as_test

from nuska.domain.moments import Moment
from nuska.interfaces.storage import RandomBytes, Store, StoreOptions
from nuska.stores.redis.store import RedisStore, open_redis
from nuska.testing.conformance import (
    AnnouncementConformance,
    ByUrlConformance,
    CarriedLogConformance,
    ForgettingConformance,
    RecordConformance,
    SharedLogConformance,
    SharedStockQuotaConformance,
    StockQuotaConformance,
    TransferConformance,
)
from nuska.testing.listening_machine import LockstepWithLogs
from nuska.testing.redis_server import (
    VALKEY,
    RedisCluster,
    RedisServer,
    SentinelSetup,
    redis_cluster,
    redis_server,
    sentinel_setup,
)
from nuska.testing.walks import walks

NUMBERS = count()
WALKS = walks(30, steps=50)


class Beside(LockstepWithLogs):
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


@pytest.mark.slow
def test_redis_answers_as_the_model_does(server: RedisServer) -> None:
    run_state_machine_as_test(beside(server.url), settings=WALKS)


@pytest.mark.slow
def test_a_cluster_answers_as_the_model_does(cluster: RedisCluster) -> None:
    run_state_machine_as_test(beside(cluster.url), settings=WALKS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("valkey"), program=VALKEY) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelSetup]:
    with sentinel_setup(tmp_path_factory.mktemp("sentinel")) as setup:
        yield setup


class RedisConformance(
    ByUrlConformance,
    ForgettingConformance,
    RecordConformance,
    TransferConformance,
    AnnouncementConformance,
    CarriedLogConformance,
    SharedLogConformance,
    SharedStockQuotaConformance,
    StockQuotaConformance,
):
    """The suite, with what a pool and what those who listen need."""


class TestRedisServer(RedisConformance):
    SETUP = "redis"

    @pytest.fixture
    def url(self, server: RedisServer) -> str:
        return server.new_url()


class TestRedisCluster(RedisConformance):
    SETUP = "redis cluster"

    @pytest.fixture
    def url(self, cluster: RedisCluster) -> str:
        return cluster.new_url()

    @pytest.fixture
    def buries_in_one_step(self) -> bool:
        return False  # the queues of the suite lie in different hash slots


class TestRedisBehindSentinel(RedisConformance):
    SETUP = "redis sentinel"

    @pytest.fixture
    def url(self, watched: SentinelSetup) -> str:
        return watched.new_url()


class TestValkey(RedisConformance):
    SETUP = "valkey"

    @pytest.fixture
    def url(self, valkey: RedisServer) -> str:
        return valkey.new_url()
