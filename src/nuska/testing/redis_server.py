"""Real Redis and Valkey servers for tests: on free ports of 127.0.0.1, with data in a temporary
directory, ended with the test that started them.

Needs ``redis-server`` and ``redis-cli`` (or ``valkey-server`` and ``valkey-cli``) on the path,
and fails with a sentence when they are not there. Started servers can be paused, killed and
started again, by their own process.
"""

import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nuska.testing.engine import EngineProcess, find_program, new_name, running, within
from nuska.testing.ports import free_port

START_WITHIN = 15.0
"""Seconds until servers must have found one another."""
CLUSTER_SIZE = 3
SENTINELS = 3
SERVICE = "nuska"
DOWN_AFTER = 500
"""Milliseconds of silence after which a sentinel thinks that a primary is gone."""
SYNCED = ("--appendonly", "yes", "--appendfsync", "always")
IN_MEMORY = ("--appendonly", "no", "--save", "")
AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A replica that asks for a copy gets it, and is not made to wait for others that might."""
BUS = 10_000
"""So far above its port a server of a cluster listens to the others."""
REDIS, VALKEY = "redis", "valkey"
"""What the programs' names begin with, and their packages'."""


class RedisServer(EngineProcess):
    """One ``redis-server`` process, which may be started many times on the same data."""

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str] = SYNCED,
        port: int = 0,
        program: str = REDIS,
    ) -> None:
        super().__init__(directory, port)
        self._program = program
        self._arguments = arguments

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def new_url(self) -> str:
        return f"{self.url}?prefix={new_name()}:"

    def command(self) -> list[str]:
        binary = find_program(f"{self._program}-server", f"{self._program}-server")
        command = [binary, *self._configuration(), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.directory), "--daemonize", "no", "--loglevel", "warning"]
        return [*command, *self._replication(), *self._arguments]

    def _configuration(self) -> list[str]:
        return []

    def _replication(self) -> Sequence[str]:
        return AT_ONCE

    def answers(self) -> bool:
        return self.ask("PING") == "+PONG"

    def ask(self, *command: str) -> str:
        """The first line of the answer, or nothing when there is none yet."""
        return self.ask_all(*command).partition("\r\n")[0]

    def ask_all(self, *command: str) -> str:
        """The answer as it came, or nothing when there is none yet."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                parts = [f"${len(part.encode())}\r\n{part}\r\n" for part in command]
                connection.sendall(f"*{len(parts)}\r\n{''.join(parts)}".encode())
                return connection.recv(65536).decode(errors="replace")
        except OSError:
            return ""


@contextmanager
def redis_server(
    directory: Path, arguments: Sequence[str] = SYNCED, program: str = REDIS
) -> Iterator[RedisServer]:
    """A server that runs."""
    with running(RedisServer(directory, arguments, program=program)) as server:
        yield server


class RedisCluster:
    """Three primaries, each with a third of the hash slots, and ``replicas`` each.

    As an ``Engine`` all of its servers share one fate.
    """

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str] = IN_MEMORY,
        program: str = REDIS,
        replicas: int = 0,
    ) -> None:
        wanted = CLUSTER_SIZE * (1 + replicas)
        ports = [free_port(others=(BUS,)) for _ in range(wanted)]
        more = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.servers: list[RedisServer] = [
            RedisServer(directory / str(port), (*arguments, *more), port, program) for port in ports
        ]
        self._program = program
        self._replicas = replicas
        self._is_made = False

    @property
    def port(self) -> int:
        """Of one of them."""
        return self.servers[0].port

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        return f"redis+cluster://{hosts}"

    def new_url(self) -> str:
        return f"{self.url}?prefix={new_name()}:"

    def through(self, url: str, port: int) -> str:
        raise NotImplementedError("servers of a cluster send clients on, past any proxy")

    def start(self) -> None:
        for server in self.servers:
            server.start()
        if not self._is_made:
            self._make()
            self._is_made = True
        if not within(START_WITHIN, lambda: all(map(self._is_whole, self.servers))):
            raise RuntimeError("the cluster does not become whole")

    def _make(self) -> None:
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        replicas = ["--cluster-replicas", str(self._replicas)]
        made = subprocess.run(
            [*self._client(), "--cluster", "create", *hosts, *replicas, "--cluster-yes"],
            capture_output=True,
            timeout=60,
            check=False,
        )
        if made.returncode != 0:
            raise RuntimeError(f"no cluster: {made.stdout.decode(errors='replace')[-2000:]}")

    def _client(self) -> list[str]:
        """The program that makes a cluster, and how it speaks to servers."""
        return [find_program(f"{self._program}-cli", f"{self._program}-tools")]

    def _is_whole(self, server: RedisServer) -> bool:
        text = server.ask_all("CLUSTER", "INFO")
        if "cluster_state:ok" not in text or "cluster_slots_ok:16384" not in text:
            return False
        if not self._replicas:
            return True
        link = server.ask_all("INFO", "replication")
        # One that is connected may still be on its way to being in step.
        return "master_link_status:up" in link or link.count("state=online") == self._replicas

    @property
    def primaries(self) -> list[RedisServer]:
        return [one for one in self.servers if leads(one)]

    def stop(self) -> None:
        for server in self.servers:
            server.stop()

    def kill(self) -> None:
        for server in self.servers:
            server.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        for server in self.servers:
            server.pause()

    def resume(self) -> None:
        for server in self.servers:
            server.resume()


@contextmanager
def redis_cluster(
    directory: Path,
    arguments: Sequence[str] = IN_MEMORY,
    program: str = REDIS,
    replicas: int = 0,
) -> Iterator[RedisCluster]:
    """A cluster that is whole."""
    with running(RedisCluster(directory, arguments, program, replicas)) as cluster:
        yield cluster


def leads(server: RedisServer) -> bool:
    """Whether it takes itself for a primary."""
    return "role:master" in server.ask_all("INFO", "replication")


class _Sentinel(RedisServer):
    def __init__(self, directory: Path, primary_port: int, program: str) -> None:
        super().__init__(directory, (), program=program)
        self._primary_port = primary_port
        self._file = directory / "sentinel.conf"

    def prepare(self) -> None:
        self._file.write_text(
            f"sentinel monitor {SERVICE} 127.0.0.1 {self._primary_port} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n"
        )

    def _configuration(self) -> list[str]:
        return [str(self._file), "--sentinel"]

    def _replication(self) -> Sequence[str]:
        return ()


class SentinelSetup:
    """A primary with replicas, watched by three sentinels."""

    def __init__(
        self,
        directory: Path,
        arguments: Sequence[str] = SYNCED,
        program: str = REDIS,
        replicas: int = 1,
    ) -> None:
        self.primary = RedisServer(directory / "primary", arguments, program=program)
        following = ("--replicaof", "127.0.0.1", str(self.primary.port))
        self.replicas = [
            RedisServer(directory / f"replica-{n}", (*arguments, *following), program=program)
            for n in range(replicas)
        ]
        self.sentinels = [
            _Sentinel(directory / f"sentinel-{number}", self.primary.port, program)
            for number in range(SENTINELS)
        ]

    @property
    def replica(self) -> RedisServer:
        """The first one."""
        return self.replicas[0]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}"

    def new_url(self) -> str:
        return f"{self.url}?prefix={new_name()}:"

    def start(self) -> None:
        for server in (self.primary, *self.replicas, *self.sentinels):
            server.start()
        self._wait(self._is_ready, "sentinels and replicas do not find one another")

    def _is_ready(self) -> bool:
        links = [replica.ask_all("INFO", "replication") for replica in self.replicas]
        followers = self.primary.ask_all("INFO", "replication")
        if any("master_link_status:up" not in link for link in links):
            return False
        if followers.count("state=online") != len(self.replicas):
            return False
        known = f"slaves={len(self.replicas)},sentinels={SENTINELS}"
        return all(known in sentinel.ask_all("INFO", "sentinel") for sentinel in self.sentinels)

    def wait_until_replica_leads(self) -> None:
        self._wait(lambda: any(map(leads, self.replicas)), "no failover happens")

    def _wait(self, holds: Callable[[], bool], complaint: str) -> None:
        if not within(2 * START_WITHIN, holds):
            raise RuntimeError(complaint)

    def stop(self) -> None:
        for server in (*self.sentinels, *self.replicas, self.primary):
            server.kill()


@contextmanager
def sentinel_setup(
    directory: Path,
    arguments: Sequence[str] = SYNCED,
    program: str = REDIS,
    replicas: int = 1,
) -> Iterator[SentinelSetup]:
    """A primary, replicas that follow it, and sentinels that agree."""
    setup = SentinelSetup(directory, arguments, program, replicas)
    try:
        setup.start()
        yield setup
    finally:
        setup.stop()
