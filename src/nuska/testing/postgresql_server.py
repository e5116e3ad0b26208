"""A real PostgreSQL server for tests: on a free port of 127.0.0.1, with data in a temporary
directory of its own, ended with the test that started it.

Needs the programs of PostgreSQL (Debian package postgresql), and fails with a sentence when
they are not there. They refuse to run as root, so root's tests run them as an unprivileged
user. Started servers can be paused, killed and started again, by their own processes.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no types

START_WITHIN = 30.0
"""Seconds until a server must answer."""
LOOK_EVERY = 0.02
UNPRIVILEGED = ("postgres", "nobody")
DEBIAN_PROGRAMS = Path("/usr/lib/postgresql")
CONNECTIONS = 100

_numbers = count()


def _program(name: str) -> str:
    """The newest of the installed ones."""
    versions = sorted(DEBIAN_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(versions[-1]) if versions else shutil.which(name)
    if found is None:
        raise RuntimeError(f"these tests need {name} (Debian package postgresql)")
    return found


def _user() -> pwd.struct_passwd | None:
    """Whom to run the server as, when not as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no other user to run it")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresqlServer:
    """One server, which may be started many times on the same data."""

    def __init__(self, directory: Path) -> None:
        self.port = _free_port()
        self._directory = directory
        self._data = directory / "data"
        self._log = directory / "postgresql.log"
        self._user = _user()
        self._process: subprocess.Popen[bytes] | None = None
        if self._user is not None:
            os.chown(directory, self._user.pw_uid, self._user.pw_gid)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://nuska@127.0.0.1:{self.port}/{database}"

    def create_cluster(self) -> None:
        made = self._spawn(
            _program("initdb"),
            *("--pgdata", str(self._data), "--username", "nuska", "--auth", "trust"),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync"),
        )
        if made.wait(START_WITHIN) != 0:
            raise RuntimeError(f"initdb failed: {self._last_words()}")

    def start(self) -> None:
        self._process = self._spawn(
            _program("postgres"),
            *("-D", str(self._data), "-p", str(self.port), "-c", "listen_addresses=127.0.0.1"),
            *("-c", f"unix_socket_directories={self._directory}"),
            *("-c", f"max_connections={CONNECTIONS}", "-c", "deadlock_timeout=100ms"),
        )
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(LOOK_EVERY)
        raise RuntimeError(f"PostgreSQL did not start: {self._last_words()}")

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        user = self._user
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._directory,
                user=None if user is None else user.pw_uid,
                group=None if user is None else user.pw_gid,
                extra_groups=None if user is None else [],
            )

    def _answers(self) -> bool:
        ready = subprocess.run(
            [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)],
            check=False,
            timeout=START_WITHIN,
        )
        return ready.returncode == 0

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def pause(self) -> None:
        """Stop its processes where they are; its connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        """Every backend is a process of its own, in a session of its own."""
        if self._process is not None:
            for one in (self._process.pid, *_children(self._process.pid)):
                try:
                    os.kill(one, number)
                except ProcessLookupError:
                    continue

    def kill(self) -> None:
        """End it at once, as a crash does: it recovers from its log at the next start."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self.resume()
        self._process.send_signal(number)
        try:
            self._process.wait(START_WITHIN)
        except subprocess.TimeoutExpired:
            self._signal_all(signal.SIGKILL)
            self._process.wait()
        self._process = None

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """A database that is the caller's alone; its URL."""
        name = f"test_{next(_numbers)}"
        await self.ask(f"CREATE DATABASE {name}")
        try:
            yield self.url(name)
        finally:
            await self.ask(f"DROP DATABASE {name} WITH (FORCE)")

    async def ask(self, statement: str, database: str = "postgres") -> object:
        """One statement on a connection of its own; the first value of its answer."""
        connection = await asyncpg.connect(self.url(database), timeout=START_WITHIN)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except OSError:
                continue
            if int(status.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found


@contextmanager
def postgresql_server() -> Iterator[PostgresqlServer]:
    """A server that runs."""
    with tempfile.TemporaryDirectory(prefix="nuska-postgresql-") as directory:
        server = PostgresqlServer(Path(directory))
        try:
            server.create_cluster()
            server.start()
            yield server
        finally:
            server.kill()
