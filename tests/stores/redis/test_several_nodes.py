"""Several processes on one Redis, on a Cluster, and on Valkey; and nodes whose clocks differ."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance import LaggingClockConformance, ProcessConformance
from nuska.testing.redis_server import (
    VALKEY,
    RedisCluster,
    RedisServer,
    redis_cluster,
    redis_server,
)
from nuska.testing.two_clocks import NewUrl


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("valkey"), program=VALKEY) as server:
        yield server


@pytest.fixture(scope="module")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


class TestRedis(LaggingClockConformance, ProcessConformance):
    SETUP = "redis"

    @pytest.fixture
    def new_url(self, shared_server: RedisServer) -> NewUrl:
        return shared_server.new_url


class TestRedisCluster(LaggingClockConformance, ProcessConformance):
    SETUP = "redis cluster"

    @pytest.fixture
    def new_url(self, shared_cluster: RedisCluster) -> NewUrl:
        return shared_cluster.new_url


class TestValkey(LaggingClockConformance, ProcessConformance):
    SETUP = "valkey"

    @pytest.fixture
    def new_url(self, shared_valkey: RedisServer) -> NewUrl:
        return shared_valkey.new_url
