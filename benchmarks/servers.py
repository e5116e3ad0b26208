"""The servers that are measured: Nuska as its users start it, and the two yardsticks."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.processes import NotReady, Process, free_port, running
from benchmarks.wire import Connection

HERE = Path(__file__).resolve().parent
READY_WITHIN = 60.0


@contextmanager
def nuska(
    data: Path,
    *options: str,
    name: str = "nuska",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Process]:
    """``nuska serve`` with its defaults on ``data``, ready to answer; ``environment``: settings
    that are not the defaults."""
    port = free_port()
    command = [sys.executable, "-m", "nuska", "serve", "--listen", f"127.0.0.1:{port}"]
    command += ["--data", str(data), *options]
    data.mkdir(parents=True, exist_ok=True)
    with running(
        name,
        command,
        port=port,
        directory=data.parent,
        environment={**_environment(), **(environment or {})},
    ) as process:
        wait_for_answer(process)
        yield process


@contextmanager
def teller(data: Path, store: str, *, name: str = "teller") -> Iterator[Process]:
    """A node that carries out deliveries on ``store`` and serves no clients, at work."""
    port = free_port()
    command = [sys.executable, "-m", "nuska", "serve", "--role", "delivery", "--store", store]
    command += ["--metrics", f"127.0.0.1:{port}", "--data", str(data)]
    data.mkdir(parents=True, exist_ok=True)
    with running(
        name, command, port=port, directory=data.parent, environment=_environment()
    ) as process:
        wait_for_answer(process)
        yield process


@contextmanager
def bare(directory: Path) -> Iterator[Process]:
    """The bare ASGI handler."""
    with _script("bare_asgi", directory) as process:
        yield process


@contextmanager
def canned(directory: Path, *, count: int = 1) -> Iterator[Process]:
    """The responder that shows what wrk can reach."""
    with _script("canned", directory, "--count", str(count)) as process:
        yield process


@contextmanager
def broadcaster(directory: Path, *, deflate: bool) -> Iterator[Process]:
    """A bare broadcast to WebSockets."""
    options = ("--deflate",) if deflate else ()
    with _script("bare_broadcast", directory, *options) as process:
        yield process


def wait_for_answer(process: Process) -> float:
    """Seconds until ``/v2/ping`` answers 2xx."""
    began = time.perf_counter()
    while time.perf_counter() - began < READY_WITHIN and not process.ended():
        with suppress(OSError), Connection(process.port) as connection:
            if connection.ask("GET", "/v2/ping").status < 300:
                return time.perf_counter() - began
        time.sleep(0.005)
    raise NotReady(f"{process.name} does not answer /v2/ping:\n{process.last_words()}")


@contextmanager
def _script(module: str, directory: Path, *options: str) -> Iterator[Process]:
    port = free_port()
    command = [sys.executable, str(HERE / f"{module}.py"), "--port", str(port), *options]
    with running(module, command, port=port, directory=directory) as process:
        yield process


def _environment() -> dict[str, str]:
    """Nothing of the caller's ``NUSKA_*`` may change what is measured."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NUSKA_")}
