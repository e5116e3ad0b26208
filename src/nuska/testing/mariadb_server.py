"""A real MariaDB server for tests: on a free port of 127.0.0.1, with data in a temporary
directory of its own, ended with the test that started it.

Needs the programs of MariaDB (Debian package mariadb-server), and fails with a sentence when
they are not there. Root's tests run them as an unprivileged user. Started servers can be
paused, killed and started again, by their own process.
"""

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncmy

from nuska.testing.data_folders import data_folder
from nuska.testing.engine import START_WITHIN, EngineProcess, new_name, running

PROGRAM_FOLDERS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
USER, PASSWORD = "nuska", "s3cret"
SMALL = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    "--aria-pagecache-buffer-size=1M",
    "--key-buffer-size=1M",
    "--performance-schema=OFF",
)
"""Tests have little data and many servers."""


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:{PROGRAM_FOLDERS}")
    if found is None:
        raise RuntimeError(f"these tests need {name} (Debian package mariadb-server)")
    return found


class MariadbServer(EngineProcess):
    """One server, which may be started many times on the same data."""

    NEEDS_A_USER = True
    CLIENT: tuple[str, ...] = ()
    """Further options of the client that makes databases."""

    def __init__(self, directory: Path, options: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self.options = tuple(options)
        """Further ones; a test may change them before it starts the server again."""
        self._data = directory / "data"
        self._emptied: list[str] = []

    def url(self, database: str = "nuska", scheme: str = "mariadb") -> str:
        return f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_url(self) -> str:
        name = new_name()
        made = self.spawn(
            _program("mariadb"),
            *("--no-defaults", "--host=127.0.0.1", f"--port={self.port}", *self.CLIENT),
            *(f"--user={USER}", f"--password={PASSWORD}", f"--execute=CREATE DATABASE {name}"),
        )
        if made.wait(START_WITHIN) != 0:
            raise RuntimeError(f"a database cannot be made: {self.last_words()}")
        return self.url(name)

    def prepare(self) -> None:
        data_folder(self, "mariadb", self._data, self._make)
        (self.directory / "first.sql").write_text(
            f"CREATE USER IF NOT EXISTS {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO {USER}@'127.0.0.1';\n"
            "CREATE DATABASE IF NOT EXISTS nuska;\n"
        )

    def _make(self, data: Path) -> None:
        made = self.spawn(
            _program("mariadb-install-db"),
            *("--no-defaults", f"--datadir={data}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--skip-name-resolve", *SMALL),
            f"--tmpdir={self.directory}",
        )
        if made.wait(START_WITHIN) != 0:
            raise RuntimeError(f"mariadb-install-db failed: {self.last_words()}")

    def command(self) -> list[str]:
        return [
            _program("mariadbd"),
            *("--no-defaults", f"--datadir={self._data}", "--bind-address=127.0.0.1"),
            *(f"--port={self.port}", f"--socket={self.directory / 'socket'}"),
            f"--tmpdir={self.directory}",
            *(f"--pid-file={self.directory / 'pid'}", "--skip-name-resolve", *SMALL),
            *(f"--init-file={self.directory / 'first.sql'}", *self.options),
        ]

    def answers(self) -> bool:
        """It greets whoever connects; before it is ready nobody listens at the port."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=START_WITHIN) as one:
                return bool(one.recv(1))
        except OSError:
            return False

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """A database that is the caller's alone; its URL.

        Making its tables takes most of a second, so afterwards it is emptied for the next one.
        """
        name = self._emptied.pop() if self._emptied else new_name()
        await self.ask(f"CREATE DATABASE IF NOT EXISTS {name}")
        yield self.url(name)
        names = await self.ask(
            "SELECT GROUP_CONCAT(table_name) FROM information_schema.tables "
            f"WHERE table_schema = '{name}' AND table_name <> 'alembic_version'"
        )
        tables = str(names).split(",") if names else []
        if "timeline" in tables:
            tables.remove("timeline")
            await self.ask("UPDATE timeline SET last_moment = 0", name)
        for table in tables:
            await self.ask(f"DELETE FROM {table}", name)
        self._emptied.append(name)

    async def connect(self, database: str = "nuska") -> Any:
        """A connection of the driver's; its statements commit by themselves."""
        return await asyncmy.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            database=database,
            autocommit=True,
        )

    async def ask(self, statement: str, database: str = "nuska") -> Any:
        """One statement on a connection of its own; the first value of its answer."""
        connection = await self.connect(database)
        try:
            async with connection.cursor() as cursor:
                await cursor.execute(statement)
                row = await cursor.fetchone() if cursor.description else None
                return row[0] if row else None
        finally:
            await connection.ensure_closed()


@contextmanager
def mariadb_server(*options: str) -> Iterator[MariadbServer]:
    """A server that runs, with these options."""
    with (
        tempfile.TemporaryDirectory(prefix="nuska-mariadb-") as directory,
        running(MariadbServer(Path(directory), options)) as server,
    ):
        yield server
