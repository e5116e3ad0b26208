"""A real PostgreSQL server for tests: on a free port of 127.0.0.1, with data in a temporary
directory of its own, ended with the test that started it.

Needs the programs of PostgreSQL (Debian package postgresql), and fails with a sentence when
they are not there. They refuse to run as root, so root's tests run them as an unprivileged
user. Started servers can be paused, killed and started again, by their own processes.
"""

import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no types

from nuska.testing.data_folders import data_folder
from nuska.testing.engine import START_WITHIN, EngineProcess, children_of, new_name, running

DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
CONNECTIONS = 100
NO_SETTINGS: Mapping[str, str] = {}
EMPTY = """
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'timeline')
    LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;
    IF to_regclass('timeline') IS NOT NULL THEN UPDATE timeline SET last_moment = 0; END IF;
END $$
"""
"""Leaves the tables as they were made."""


def _program(name: str) -> str:
    """The newest of the installed ones."""
    versions = sorted(DEBIAN_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise RuntimeError(f"these tests need {name} (Debian package postgresql)")
    return found


class PostgresqlServer(EngineProcess):
    """One server, which may be started many times on the same data."""

    STOP = signal.SIGINT
    KILL = signal.SIGQUIT  # it recovers from its log at the next start
    NEEDS_A_USER = True

    def __init__(self, directory: Path, settings: Mapping[str, str] = NO_SETTINGS) -> None:
        super().__init__(directory)
        self._data = directory / "data"
        self._settings = settings
        self._emptied: list[str] = []

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://nuska@127.0.0.1:{self.port}/{database}"

    def new_url(self) -> str:
        name = new_name()
        made = self.spawn(
            _program("createdb"),
            *("-h", "127.0.0.1", "-p", str(self.port), "-U", "nuska", "--maintenance-db"),
            *("postgres", name),
        )
        if made.wait(START_WITHIN) != 0:
            raise RuntimeError(f"createdb failed: {self.last_words()}")
        return self.url(name)

    def prepare(self) -> None:
        data_folder(self, "postgresql", self._data, self._make)

    def _make(self, data: Path) -> None:
        made = self.spawn(
            _program("initdb"),
            *("--pgdata", str(data), "--username", "nuska", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        if made.wait(START_WITHIN) != 0:
            raise RuntimeError(f"initdb failed: {self.last_words()}")

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "max_connections": str(CONNECTIONS),
            "deadlock_timeout": "100ms",
            **self._settings,
        }
        settings = [part for one in options.items() for part in ("-c", "=".join(one))]
        return [_program("postgres"), "-D", str(self._data), "-p", str(self.port), *settings]

    def answers(self) -> bool:
        ready = subprocess.run(
            [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
            timeout=START_WITHIN,
        )
        return ready.returncode == 0

    def pids(self) -> list[int]:
        """Every backend is a process of its own, in a session of its own."""
        return [pid for first in super().pids() for pid in (first, *children_of(first))]

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """A database that is the caller's alone; its URL.

        Making its tables takes most of a second, so afterwards it is emptied for the next one.
        """
        if self._emptied:
            name = self._emptied.pop()
        else:
            name = new_name()
            await self.ask(f"CREATE DATABASE {name}")
        yield self.url(name)
        await self.ask(EMPTY, name)
        self._emptied.append(name)

    async def ask(self, statement: str, database: str = "postgres") -> object:
        """One statement on a connection of its own; the first value of its answer."""
        connection = await asyncpg.connect(self.url(database), timeout=START_WITHIN)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


class StandbyServer(PostgresqlServer):
    """A copy of another server, which it follows; ``name`` is what that one knows it by."""

    def __init__(self, directory: Path, primary: PostgresqlServer, name: str) -> None:
        super().__init__(directory)
        self._primary = primary
        self._name = name

    def prepare(self) -> None:
        made = self.spawn(
            _program("pg_basebackup"),
            *(
                "--pgdata",
                str(self._data),
                "--checkpoint",
                "fast",
                "--no-sync",
                "--write-recovery-conf",
            ),
            *("--dbname", f"{self._primary.url()}?application_name={self._name}"),
        )
        if made.wait(START_WITHIN) != 0:
            raise RuntimeError(f"pg_basebackup failed: {self.last_words()}")

    async def promote(self) -> None:
        """Lead, as after a failover."""
        await self.ask("SELECT pg_promote()")


@contextmanager
def postgresql_server(settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[PostgresqlServer]:
    """A server that runs, with these settings."""
    with (
        tempfile.TemporaryDirectory(prefix="nuska-postgresql-") as directory,
        running(PostgresqlServer(Path(directory), settings)) as server,
    ):
        yield server


@contextmanager
def standby_of(primary: PostgresqlServer, name: str) -> Iterator[StandbyServer]:
    """A running copy of a running server."""
    with (
        tempfile.TemporaryDirectory(prefix="nuska-standby-") as directory,
        running(StandbyServer(Path(directory), primary, name)) as server,
    ):
        yield server
