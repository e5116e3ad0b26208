"""Servers of every engine that are spoken to by TLS and in no other way.

Each shows a certificate of its own, good for 127.0.0.1 and vouched for by itself. What an
address says of TLS is each engine's own language, and is translated here.
"""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pymongo import MongoClient

from nuska.testing.certificates import certificate
from nuska.testing.engine import EngineProcess, new_name, running
from nuska.testing.mariadb_server import MariadbServer
from nuska.testing.mongodb_server import MongoServer
from nuska.testing.postgresql_server import PostgresqlServer
from nuska.testing.redis_server import (
    CLUSTER_SIZE,
    IN_MEMORY,
    SERVICE,
    RedisCluster,
    RedisServer,
)

OTHER_NAME = "localhost"
"""A name of the machine that no certificate here is good for."""


class Encrypted(Protocol):
    """A running server."""

    ca: Path
    """Whom one has to believe."""

    def new_url(self) -> str:
        """Of a store that is empty, with nothing of TLS in it."""
        ...

    def encrypted(self, url: str, ca: Path | None) -> str:
        """The address with TLS, checking everything; None: who is believed by the system."""
        ...


class _WithFiles(EngineProcess):
    """Has a certificate in its directory, readable by whom it runs as."""

    certificates: Path | None = None
    """Where it is, when it is another's too."""

    @property
    def ca(self) -> Path:
        return (self.certificates or self.directory) / "cert.pem"

    @property
    def key(self) -> Path:
        return (self.certificates or self.directory) / "key.pem"

    def start(self) -> None:
        if not self.ca.exists():
            self.ca.parent.mkdir(parents=True, exist_ok=True)
            for file in certificate(self.ca.parent):
                file.chmod(0o600)
                self.own(file)
        super().start()


class EncryptedRedis(_WithFiles, RedisServer):
    def __init__(self, directory: Path, arguments: Sequence[str] = IN_MEMORY) -> None:
        super().__init__(directory, arguments)

    def command(self) -> list[str]:
        return [
            *super().command(),
            *("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(self.ca), "--tls-key-file", str(self.key)),
            *("--tls-ca-cert-file", str(self.ca), "--tls-replication", "yes"),
        ]

    def ask_all(self, *command: str) -> str:
        believing = ssl.create_default_context(cafile=self.ca)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as plain,
                believing.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                connection.sendall(f"{' '.join(command)}\r\n".encode())
                return connection.recv(65536).decode(errors="replace")
        except OSError:
            return ""

    def encrypted(self, url: str, ca: Path | None) -> str:
        return _rediss(url, ca)


def _rediss(url: str, ca: Path | None) -> str:
    return url.replace("redis", "rediss", 1) + ("" if ca is None else f"&ca={ca}")


class EncryptedCluster(RedisCluster):
    """Whose servers speak to each other by TLS, too."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        more = (*IN_MEMORY, "--cluster-enabled", "yes", "--tls-cluster", "yes")
        self.servers = []
        for number in range(CLUSTER_SIZE):
            server = EncryptedRedis(directory / str(number), more)
            server.certificates = directory
            self.servers.append(server)
        self.ca = directory / "cert.pem"

    def _client(self) -> list[str]:
        return [*super()._client(), "--tls", "--cacert", str(self.ca)]

    def encrypted(self, url: str, ca: Path | None) -> str:
        return _rediss(url, ca)


class _EncryptedSentinel(EncryptedRedis):
    def __init__(self, directory: Path, primary: EncryptedRedis) -> None:
        super().__init__(directory, ())
        self._primary = primary
        self.certificates = primary.directory

    def prepare(self) -> None:
        watch = f"sentinel monitor {SERVICE} 127.0.0.1 {self._primary.port} 1\n"
        (self.directory / "sentinel.conf").write_text(watch)

    def _configuration(self) -> list[str]:
        return [str(self.directory / "sentinel.conf"), "--sentinel"]

    def _replication(self) -> Sequence[str]:
        return ()


class EncryptedBehindSentinel:
    """A server, and one that knows where it is."""

    def __init__(self, directory: Path) -> None:
        self.primary = EncryptedRedis(directory / "primary")
        self.sentinel = _EncryptedSentinel(directory / "sentinel", self.primary)
        self.ca = self.primary.ca

    def new_url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.sentinel.port}/{SERVICE}?prefix={new_name()}:"

    def start(self) -> None:
        self.primary.start()
        self.sentinel.start()

    def kill(self) -> None:
        self.sentinel.kill()
        self.primary.kill()

    def encrypted(self, url: str, ca: Path | None) -> str:
        return _rediss(url, ca)


class EncryptedPostgresql(_WithFiles, PostgresqlServer):
    def __init__(self, directory: Path) -> None:
        settings = {
            "ssl": "on",
            "ssl_cert_file": str(directory / "cert.pem"),
            "ssl_key_file": str(directory / "key.pem"),
            "hba_file": str(directory / "hba.conf"),
        }
        super().__init__(directory, settings)

    def prepare(self) -> None:
        super().prepare()
        (self.directory / "hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")

    def encrypted(self, url: str, ca: Path | None) -> str:
        return _with_ssl(url, ca)


class EncryptedMariadb(_WithFiles, MariadbServer):
    CLIENT = ("--ssl",)

    def __init__(self, directory: Path) -> None:
        files = (f"--ssl-cert={directory / 'cert.pem'}", f"--ssl-key={directory / 'key.pem'}")
        super().__init__(directory, (*files, "--require-secure-transport=ON"))

    def encrypted(self, url: str, ca: Path | None) -> str:
        return _with_ssl(url, ca)


def _with_ssl(url: str, ca: Path | None) -> str:
    return f"{url}?ssl=verify-full" + ("" if ca is None else f"&ca={ca}")


class EncryptedMongo(_WithFiles, MongoServer):
    def command(self) -> list[str]:
        both = self.directory / "both.pem"
        both.write_text(self.ca.read_text() + self.key.read_text())
        return [
            *super().command(),
            *("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(both)),
            *("--tlsCAFile", str(self.ca), "--tlsAllowConnectionsWithoutCertificates"),
        ]

    def _client(self) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            "127.0.0.1",
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=1000,
            tls=True,
            tlsCAFile=str(self.ca),
        )

    def encrypted(self, url: str, ca: Path | None) -> str:
        return f"{url}&tls=true" + ("" if ca is None else f"&tlsCAFile={ca}")


ENCRYPTED: dict[str, dict[str, Callable[[Path], Any]]] = {
    "redis": {
        "server": EncryptedRedis,
        "cluster": EncryptedCluster,
        "sentinel": EncryptedBehindSentinel,
    },
    "postgresql": {"server": EncryptedPostgresql},
    "mariadb": {"server": EncryptedMariadb},
    "mongodb": {"server": EncryptedMongo},
}
"""By engine, and by how its servers are set up."""


@contextmanager
def encrypted_engine(name: str, setup: str, directory: Path) -> Iterator[Any]:
    """A server that runs; an ``Encrypted``. ``directory`` is removed at the end."""
    try:
        with running(ENCRYPTED[name][setup](directory)) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)
