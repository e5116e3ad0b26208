"""Addresses, and connections that are encrypted."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.domain.errors import Unavailable
from nuska.stores.sql.url import parse
from nuska.testing.certificates import certificate
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.mariadb_server import MariadbServer, mariadb_server


@pytest.fixture
def readable() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nuska-certificate-") as directory:
        yield Path(directory)


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_an_address_says_where_and_who(scheme: str) -> None:
    url = parse(f"{scheme}://us%40er:pa%3Ass@db.example:3307/queues?ssl=verify-full&ca=/c")
    assert (url.username, url.password, url.host, url.port) == (
        "us@er",
        "pa:ss",
        "db.example",
        3307,
    )
    assert url.database == "queues"


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user@host",
        "mysql:///database",
        "mysql://host/database",
        "mysql://user:secret@host:port/database",
        "mysql://user:secret@host/database?prefix=x",
        "mysql://user:secret@host/database?ssl=perhaps",
        "mysql://user:secret@host/database?ca=/file",
        "mysql://user:secret@host/database?ssl=require&ca=/file",
    ],
)
def test_a_wrong_address_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refusal:
        parse(url)
    assert "secret" not in str(refusal.value)


async def test_a_file_that_is_not_there_is_said(server: MariadbServer, open_at) -> None:
    with pytest.raises(ValueError, match="ca, cert or key"):
        await open_at(server.url() + "?ssl=verify-ca&ca=/nowhere")


async def test_an_encrypted_connection_trusts_only_whom_it_was_told(
    readable: Path, open_at
) -> None:
    cert, key = certificate(readable)
    for path in (readable, cert, key):
        path.chmod(0o755)  # the server runs as somebody else
    options = (f"--ssl-cert={cert}", f"--ssl-key={key}", "--require-secure-transport=ON")
    with mariadb_server(*options) as server:
        inbox = Inbox(await open_at(f"{server.url()}?ssl=verify-full&ca={cert}"), ManualClock())
        await inbox.post("secret")
        assert await inbox.listed() == ["secret"]
        await open_at(f"{server.url()}?ssl=require")
        with pytest.raises(Unavailable):
            await open_at(f"{server.url()}?ssl=verify-ca")
        with pytest.raises(Unavailable):
            await open_at(server.url())


async def test_a_server_that_cannot_encrypt_is_not_spoken_to_in_the_clear(
    server: MariadbServer, open_at
) -> None:
    with pytest.raises(Unavailable):
        await open_at(f"{server.url()}?ssl=require")
