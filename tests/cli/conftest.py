"""The real command in a process of its own, against a real server."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nuska.cli import run
from nuska.client.blocking import BlockingClient, BlockingQueue
from nuska.testing.server_process import ServerProcess

COMMAND_LIMIT = 60.0
"""Seconds for one command; none of them takes one, but the machine may be busy."""


@dataclass
class Nuska:
    """Runs ``nuska …`` as the person at the terminal would, in a project of their own."""

    url: str
    project: str
    directory: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NUSKA_")}
        return kept | {"NUSKA_URL": self.url, "NUSKA_PROJECT": self.project}

    def __call__(
        self, *arguments: str, stdin: str | bytes = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "nuska", *arguments],
            input=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_output=True,
            timeout=COMMAND_LIMIT,
            check=False,
            cwd=self.directory,
            env=self.environment | environment,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Begin a command that is not over by itself."""
        return subprocess.Popen(
            [sys.executable, "-m", "nuska", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=self.environment,
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("data"), store="memory:") as running:
        yield running


@pytest.fixture
def nuska(server: ServerProcess, tmp_path: Path) -> Nuska:
    return Nuska(server.url, f"project-{uuid.uuid4().hex}", tmp_path)


@pytest.fixture
def jobs(nuska: Nuska) -> Iterator[BlockingQueue]:
    """The queue ``jobs``, to prepare it and to see what a command has done to it."""
    with BlockingClient(nuska.url, project=nuska.project) as client:
        yield client.queue("jobs")


@pytest.fixture
def here(
    nuska: Nuska, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Runs a command inside this process, for long tables of commands: far quicker."""
    for name, value in nuska.environment.items():
        monkeypatch.setenv(name, value)

    def run_here(*arguments: str) -> "subprocess.CompletedProcess[str]":
        code = int(run(list(arguments)))
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run_here
