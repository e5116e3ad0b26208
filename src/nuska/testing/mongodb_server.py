"""A real MongoDB server for tests, as a replica set of one: on a free port of 127.0.0.1, with
data in a temporary directory, ended with the test that started it.

``mongod`` is taken from the path, else from the Python package that carries it (it is in the
group ``mongodb-server``); without either the tests fail with a sentence. A started server can
be paused, killed and started again, by its own process.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from nuska.testing.engine import EngineProcess, new_name, running

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


class MongoServer(EngineProcess):
    """One ``mongod`` process, which may be started many times on the same data."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._emptied: list[str] = []

    def url(self, database: str = "nuska") -> str:
        return f"mongodb://127.0.0.1:{self.port}/{database}?replicaSet={REPLICA_SET}"

    def new_url(self) -> str:
        return self.url(new_name())

    def through(self, url: str, port: int) -> str:
        """Without the set: a client that knows it asks where its members are, and goes there."""
        split = urlsplit(super().through(url, port))
        return urlunsplit(split._replace(query="directConnection=true"))

    @contextmanager
    def database(self) -> Iterator[str]:
        """A database that is the caller's alone; its URL.

        Making its indexes takes longer than most tests, so afterwards it is emptied for the next
        one. Hints stay: they are of nobody's queues, and their collection only ever turns over.
        """
        name = self._emptied.pop() if self._emptied else new_name()
        yield self.url(name)
        with self._client() as client:
            for collection in client[name].list_collections():
                if not collection["options"].get("capped"):
                    client[name][collection["name"]].delete_many({})
        self._emptied.append(name)

    def prepare(self) -> None:
        (self.directory / "data").mkdir(exist_ok=True)

    def command(self) -> list[str]:
        data = self.directory / "data"
        command = [find_mongod(), "--dbpath", str(data), "--port", str(self.port)]
        command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--replSet", REPLICA_SET]
        command += ["--wiredTigerCacheSizeGB", CACHE_GB, "--oplogSize", "256"]
        return [*command, "--setParameter", "diagnosticDataCollectionEnabled=false"]

    def answers(self) -> bool:
        """It leads its replica set."""
        try:
            return self._leads()
        except PyMongoError:
            return False  # not yet

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


@contextmanager
def mongodb_server(directory: Path) -> Iterator[MongoServer]:
    """A server that runs and leads."""
    with running(MongoServer(directory)) as server:
        yield server
