"""One real server process for each module here: SQLite on a real disk, fully durable."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.testing.server_process import ServerProcess


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data: Path = tmp_path_factory.mktemp("data")
    with ServerProcess(data) as running:
        yield running


@pytest.fixture
def project() -> str:
    """A project of the test's own, so that tests on one server cannot see each other."""
    return f"project-{uuid.uuid4().hex}"
