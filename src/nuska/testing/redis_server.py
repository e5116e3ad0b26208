"""Real Redis servers for tests: on free ports of 127.0.0.1, with data in a temporary
directory, ended with the test that started them.

Needs ``redis-server`` and ``redis-cli`` on the path, and fails with a sentence when they
are not there. Started servers can be paused, killed and started again, by their own process.
"""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_WITHIN = 15.0
"""Seconds until a server must answer."""
LOOK_EVERY = 0.02
CLUSTER_SIZE = 3
SENTINELS = 3
SERVICE = "nuska"
DOWN_AFTER = 500
"""Milliseconds of silence after which a sentinel thinks that a primary is gone."""
SYNCED = ("--appendonly", "yes", "--appendfsync", "always")
IN_MEMORY = ("--appendonly", "no", "--save", "")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; low enough for a cluster's second port, 10000 above."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        port = port if port < 55_000 else port - 20_000
        if port not in found and _is_free(port) and _is_free(port + 10_000):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class RedisServer:
    """One ``redis-server`` process, which may be started many times on the same data."""

    def __init__(self, directory: Path, arguments: Sequence[str] = SYNCED, port: int = 0) -> None:
        self.directory = directory
        self.port = port or free_ports(1)[0]
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            raise RuntimeError("these tests need redis-server (Debian package redis-server)")
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [binary, *self._command(), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.directory), "--daemonize", "no", "--loglevel", "warning"]
        with (self.directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._arguments], stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_it_answers()

    def _command(self) -> list[str]:
        return []

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until:
            if self._process.poll() is not None:
                break
            if self.ask("PING") == "+PONG":
                return
            time.sleep(LOOK_EVERY)
        log = (self.directory / "redis.log").read_text(errors="replace")
        raise RuntimeError(f"redis-server did not start: {log[-2000:]}")

    def ask(self, *command: str) -> str:
        """The first line of the answer, or nothing when there is none yet."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                parts = [f"${len(part.encode())}\r\n{part}\r\n" for part in command]
                connection.sendall(f"*{len(parts)}\r\n{''.join(parts)}".encode())
                return connection.recv(65536).decode(errors="replace").partition("\r\n")[0]
        except OSError:
            return ""

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


@contextmanager
def redis_server(directory: Path, arguments: Sequence[str] = SYNCED) -> Iterator[RedisServer]:
    """A server that runs."""
    server = RedisServer(directory, arguments)
    try:
        server.start()
        yield server
    finally:
        server.kill()


class RedisCluster:
    """Three primaries, each with a third of the hash slots."""

    def __init__(self, directory: Path, arguments: Sequence[str] = IN_MEMORY) -> None:
        ports = free_ports(CLUSTER_SIZE)
        more = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.servers = [
            RedisServer(directory / str(port), (*arguments, *more), port) for port in ports
        ]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def start(self) -> None:
        binary = shutil.which("redis-cli")
        if binary is None:
            raise RuntimeError("these tests need redis-cli (Debian package redis-tools)")
        for server in self.servers:
            server.start()
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        made = subprocess.run(
            [binary, "--cluster", "create", *hosts, "--cluster-replicas", "0", "--cluster-yes"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        if made.returncode != 0:
            raise RuntimeError(f"no cluster: {made.stdout.decode(errors='replace')[-2000:]}")
        until = time.monotonic() + START_WITHIN
        while not all(self._is_whole(server) for server in self.servers):
            if time.monotonic() > until:
                raise RuntimeError("the cluster does not become whole")
            time.sleep(LOOK_EVERY)

    def _is_whole(self, server: RedisServer) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
                connection.sendall(b"CLUSTER INFO\r\n")
                text = connection.recv(65536)
        except OSError:
            return False
        return b"cluster_state:ok" in text and b"cluster_slots_ok:16384" in text

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


@contextmanager
def redis_cluster(directory: Path) -> Iterator[RedisCluster]:
    """A cluster that is whole."""
    cluster = RedisCluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


class _Sentinel(RedisServer):
    def __init__(self, directory: Path, primary_port: int) -> None:
        super().__init__(directory, ())
        directory.mkdir(parents=True, exist_ok=True)
        self._configuration = directory / "sentinel.conf"
        self._configuration.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary_port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )

    def _command(self) -> list[str]:
        return [str(self._configuration), "--sentinel"]


class SentinelSetup:
    """A primary with a replica, watched by three sentinels."""

    def __init__(self, directory: Path, arguments: Sequence[str] = SYNCED) -> None:
        self.primary = RedisServer(directory / "primary", arguments)
        self.replica = RedisServer(
            directory / "replica",
            (*arguments, "--replicaof", "127.0.0.1", str(self.primary.port)),
        )
        self.sentinels = [
            _Sentinel(directory / f"sentinel-{number}", self.primary.port)
            for number in range(SENTINELS)
        ]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def start(self) -> None:
        for server in (self.primary, self.replica, *self.sentinels):
            server.start()
        self._wait(self._is_ready, "sentinels and replica do not find one another")

    def _is_ready(self) -> bool:
        link = self._text(self.replica, b"INFO replication\r\n")
        followers = self._text(self.primary, b"INFO replication\r\n")
        if b"master_link_status:up" not in link or b"state=online" not in followers:
            return False
        return all(
            f"slaves=1,sentinels={SENTINELS}".encode() in self._text(sentinel, b"INFO sentinel\r\n")
            for sentinel in self.sentinels
        )

    def wait_until_replica_leads(self) -> None:
        self._wait(
            lambda: b"role:master" in self._text(self.replica, b"INFO replication\r\n"),
            "no failover happens",
        )

    def _wait(self, holds: Callable[[], bool], complaint: str) -> None:
        until = time.monotonic() + 2 * START_WITHIN
        while not holds():
            if time.monotonic() > until:
                raise RuntimeError(complaint)
            time.sleep(LOOK_EVERY)

    def _text(self, server: RedisServer, command: bytes) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
                connection.sendall(command)
                return connection.recv(65536)
        except OSError:
            return b""

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.primary):
            server.kill()


@contextmanager
def sentinel_setup(directory: Path) -> Iterator[SentinelSetup]:
    """A primary, a replica that follows it, and sentinels that agree."""
    setup = SentinelSetup(directory)
    try:
        setup.start()
        yield setup
    finally:
        setup.stop()
