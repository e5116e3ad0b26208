"""Many clients in several processes on one Redis, on a Cluster, and on Valkey."""

from collections.abc import Iterator

import pytest

from nuska.testing.conformance import ProcessConformance
from nuska.testing.redis_server import (
    VALKEY,
    RedisCluster,
    RedisServer,
    redis_cluster,
    redis_server,
)


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


class TestRedis(ProcessConformance):
    SETUP = "redis"

    @pytest.fixture
    def url(self, shared_server: RedisServer) -> str:
        return shared_server.new_url()


class TestRedisCluster(ProcessConformance):
    SETUP = "redis cluster"

    @pytest.fixture
    def url(self, shared_cluster: RedisCluster) -> str:
        return shared_cluster.new_url()


class TestValkey(ProcessConformance):
    SETUP = "valkey"

    @pytest.fixture
    def url(self, shared_valkey: RedisServer) -> str:
        return shared_valkey.new_url()
