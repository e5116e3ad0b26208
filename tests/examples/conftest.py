"""Runs an example as a reader would, against a server of the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nuska.testing.server_process import ServerProcess

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIMIT = 150.0
"""Seconds for one example."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as running:
        yield running


@pytest.fixture
def environment(server: ServerProcess) -> dict[str, str]:
    return {**os.environ, "NUSKA_URL": server.url, "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def run(environment: dict[str, str]) -> Callable[..., str]:
    """Runs a program of an example to its end; what it printed."""

    def run_to_its_end(program: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLES / program), *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_to_its_end
