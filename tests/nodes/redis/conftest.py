"""One Redis server for each module here; tests on it keep to projects of their own."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.testing.redis_server import redis_server


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the store."""
    directory: Path = tmp_path_factory.mktemp("redis")
    with redis_server(directory) as server:
        yield server.url


@pytest.fixture
def project() -> str:
    return f"project-{uuid.uuid4().hex}"
