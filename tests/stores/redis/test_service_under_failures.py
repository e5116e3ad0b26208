"""The real server over a Redis that is paused, killed or cut off: 503 in time, and on again."""

from collections.abc import Iterator

import pytest

from nuska.stores.redis.lane import ANSWER_WITHIN, CONNECT_WITHIN
from nuska.testing.conformance import ServiceFailureConformance
from nuska.testing.redis_server import RedisServer, redis_server


@pytest.fixture(scope="module")
def failing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


class TestRedis(ServiceFailureConformance):
    SETUP = "redis"
    BOUND = 2 * (CONNECT_WITHIN + ANSWER_WITHIN) + 2
    OUTAGE = ANSWER_WITHIN + 1

    @pytest.fixture
    def engine(self, failing_server: RedisServer) -> RedisServer:
        return failing_server
