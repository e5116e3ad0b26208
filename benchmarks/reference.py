"""Zaqar as it is usually run, for a comparison on one machine: gunicorn in front of Redis.

Its packages come from PyPI at the versions of ``zaqar-constraints.txt``, into a virtual
environment of its own below ``.cache``; nothing of it becomes part of this project.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import servers
from benchmarks.processes import NotReady, Process, free_port, running

CONSTRAINTS = Path(__file__).resolve().parent / "zaqar-constraints.txt"
REQUIREMENTS = ("zaqar[redis]", "gunicorn")
PROCESSES = 2
THREADS = 16
"""In each process: together as many as the load generator has connections."""
KEEP_ALIVE = 60
"""Seconds a connection stays open between requests."""

_CONFIG = """\
[DEFAULT]
auth_strategy =
unreliable = True

[drivers]
transport = wsgi
message_store = redis
management_store = redis

[drivers:message_store:redis]
uri = redis://127.0.0.1:{port}?socket_timeout=5&dbid=0

[drivers:management_store:redis]
uri = redis://127.0.0.1:{port}?socket_timeout=5&dbid=1
"""


def describe() -> str:
    """The configuration in a sentence."""
    pins = dict(
        line.split("==", 1)
        for line in CONSTRAINTS.read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    redis = subprocess.run(
        [_redis_server(), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[2]
    return (
        f"The reference: zaqar {pins['zaqar']} on gunicorn {pins['gunicorn']}, "
        f"{PROCESSES} processes of {THREADS} gthread threads, keep-alive {KEEP_ALIVE} s; "
        f"redis-server {redis.removeprefix('v=')}, appendonly yes, appendfsync everysec."
    )


def environment(cache: Path, say: Callable[[str], None]) -> Path:
    """The Python of the reference's virtual environment, made if it is not there yet."""
    home = cache.resolve() / "venv"
    python, stamp = home / "bin" / "python", home / ".installed-from"
    wanted = hashlib.sha256(CONSTRAINTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    say(f"installing zaqar into {home}")
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", str(CONSTRAINTS), *REQUIREMENTS], check=True)
    stamp.write_text(wanted)
    return python


@contextmanager
def zaqar(python: Path, directory: Path) -> Iterator[Process]:
    """The reference, ready to answer, with an empty Redis behind it."""
    with _redis(directory) as redis:
        home = directory / "home"
        configuration = home / ".zaqar" / "zaqar.conf"
        configuration.parent.mkdir(parents=True)
        configuration.write_text(_CONFIG.format(port=redis.port))
        port = free_port()
        command = [str(python), "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
        command += ["--workers", str(PROCESSES), "--worker-class", "gthread"]
        command += ["--threads", str(THREADS), "--keep-alive", str(KEEP_ALIVE)]
        command += ["--log-level", "warning", "zaqar.transport.wsgi.app:application"]
        surroundings = {**os.environ, "HOME": str(home)}
        with running(
            "zaqar", command, port=port, directory=directory, environment=surroundings
        ) as process:
            servers.wait_for_answer(process)
            yield _Pair(process, redis)


class _Pair(Process):
    """Gunicorn, with Redis counted in when it comes to CPU time."""

    def __init__(self, gunicorn: Process, redis: Process) -> None:
        super().__init__(gunicorn.name, gunicorn.popen, gunicorn.port, gunicorn.log)
        self._redis = redis

    @property
    def pids(self) -> list[int]:
        return [*super().pids, *self._redis.pids]


@contextmanager
def _redis(directory: Path) -> Iterator[Process]:
    port = free_port()
    command = [_redis_server(), "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--dir", str(directory), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", "everysec"]
    with running("redis", command, port=port, directory=directory) as process:
        yield process


def _redis_server() -> str:
    found = shutil.which("redis-server")
    if found is None:
        raise NotReady("redis-server is not installed (Debian package redis-server)")
    return found
