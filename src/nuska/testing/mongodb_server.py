"""A real MongoDB server for tests, as a replica set of one: on a free port of 127.0.0.1, with
data in a temporary directory, ended with the test that started it.

``mongod`` is taken from the path, else from the Python package that carries it (it is in the
group ``mongodb-server``); without either the tests fail with a sentence. A started server can
be paused, killed and started again, by its own process.
"""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

START_WITHIN = 30.0
"""Seconds until a server must answer, and lead its replica set."""
LOOK_EVERY = 0.05
REPLICA_SET = "nuska"
CACHE_GB = "0.25"
ALREADY_INITIATED = 23


def find_mongod() -> str:
    """Where ``mongod`` is."""
    on_path = shutil.which("mongod")
    if on_path is not None:
        return on_path
    package = find_spec("fiftyone")
    for place in (package.submodule_search_locations or []) if package is not None else []:
        binary = Path(place) / "db" / "bin" / "mongod"
        if binary.exists():
            return str(binary)
    raise RuntimeError("these tests need mongod; `make test-mongodb` installs it into .venv")


class MongoServer:
    """One ``mongod`` process, which may be started many times on the same data."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "nuska") -> str:
        return f"mongodb://127.0.0.1:{self.port}/{database}?replicaSet={REPLICA_SET}"

    def start(self) -> None:
        """Start it, and wait until it leads its replica set."""
        data = self.directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [find_mongod(), "--dbpath", str(data), "--port", str(self.port)]
        command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", REPLICA_SET]
        command += ["--wiredTigerCacheSizeGB", CACHE_GB, "--oplogSize", "256"]
        command += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
        with (self.directory / "mongod.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self._wait_until_it_leads()

    def _wait_until_it_leads(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until and self._process.poll() is None:
            try:
                if self._leads():
                    return
            except PyMongoError:
                pass  # not yet
            time.sleep(LOOK_EVERY)
        log = (self.directory / "mongod.log").read_text(errors="replace")
        raise RuntimeError(f"mongod did not start: {log[-2000:]}")

    def _leads(self) -> bool:
        hello = self.ask("hello")
        if hello.get("isWritablePrimary"):
            return True
        if "setName" not in hello:
            members = [{"_id": 0, "host": f"127.0.0.1:{self.port}"}]
            try:
                self.ask("replSetInitiate", {"_id": REPLICA_SET, "members": members})
            except OperationFailure as refusal:
                if refusal.code != ALREADY_INITIATED:
                    raise
        return False

    def ask(self, command: str, value: Any = 1, **rest: Any) -> dict[str, Any]:
        """The answer to a command of the database ``admin``."""
        with self._client() as client:
            return client.admin.command(command, value, **rest)

    def drop(self, database: str) -> None:
        with self._client() as client:
            client.drop_database(database)

    def _client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=1000
        )

    def pause(self) -> None:
        """Stop the process where it is; its connections stay open."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._signal(number)
        self._signal(signal.SIGCONT)
        try:
            self._process.wait(START_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def mongodb_server(directory: Path) -> Iterator[MongoServer]:
    """A server that runs and leads."""
    server = MongoServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.kill()
