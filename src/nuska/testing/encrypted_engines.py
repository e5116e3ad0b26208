"""Servers of every engine that are spoken to by TLS and in no other way.

Each shows a certificate of its own, good for 127.0.0.1 and vouched for by itself. What an
address says of TLS is each engine's own language, and is translated here.
"""

import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pymongo import MongoClient

from nuska.testing.certificates import certificate
from nuska.testing.engine import EngineProcess, running
from nuska.testing.mariadb_server import MariadbServer
from nuska.testing.mongodb_server import MongoServer
from nuska.testing.postgresql_server import PostgresqlServer
from nuska.testing.redis_server import IN_MEMORY, RedisServer

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

    @property
    def ca(self) -> Path:
        return self.directory / "cert.pem"

    @property
    def key(self) -> Path:
        return self.directory / "key.pem"

    def start(self) -> None:
        if not self.ca.exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            for file in certificate(self.directory):
                file.chmod(0o600)
                self.own(file)
        super().start()


class EncryptedRedis(_WithFiles, RedisServer):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, IN_MEMORY)

    def command(self) -> list[str]:
        tls = ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
        return [
            *super().command(),
            *tls,
            *("--tls-cert-file", str(self.ca), "--tls-key-file", str(self.key)),
        ]

    def answers(self) -> bool:
        believing = ssl.create_default_context(cafile=self.ca)
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=1) as plain,
                believing.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def encrypted(self, url: str, ca: Path | None) -> str:
        return url.replace("redis:", "rediss:", 1) + ("" if ca is None else f"&ca={ca}")


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


ENCRYPTED: dict[str, Callable[[Path], Any]] = {
    "redis": EncryptedRedis,
    "postgresql": EncryptedPostgresql,
    "mariadb": EncryptedMariadb,
    "mongodb": EncryptedMongo,
}


@contextmanager
def encrypted_engine(name: str, directory: Path) -> Iterator[Any]:
    """A server that runs; an ``Encrypted``. ``directory`` is removed at the end."""
    try:
        with running(ENCRYPTED[name](directory)) as server:
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)
