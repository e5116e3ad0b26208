"""The real server by TLS: on every address, with a certificate that can be renewed."""

import http.client
import shutil
import socket
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from nuska.certificates import CannotEncrypt, Certificate
from nuska.testing.certificates import certificate
from nuska.testing.ports import free_port
from nuska.testing.server_process import ServerProcess

SOON = 20.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def server(
    files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    environment = {
        "NUSKA_TLS_CERTIFICATE": str(files[0]),
        "NUSKA_TLS_KEY": str(files[1]),
        "NUSKA_METRICS": f"127.0.0.1:{free_port()}",
        "NUSKA_WEBSOCKET_LISTEN": f"127.0.0.1:{free_port()}",
    }
    data = tmp_path_factory.mktemp("data")
    with ServerProcess(data, store="memory:", environment=environment) as running:
        yield running


def trusting(files: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(files[0]))


def port_of(server: ServerProcess, what: str) -> int:
    line = next(line for line in server.output.splitlines() if line.strip().startswith(what))
    return int(line.split()[-1].removesuffix("/metrics").rpartition(":")[2])


def get(port: int, path: str, tls: ssl.SSLContext, *, last: bool = False) -> tuple[int, str | None]:
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=SOON, context=tls)
    try:
        headers = {"Client-ID": str(uuid.uuid4()), "X-Project-Id": "shop"}
        headers |= {"Connection": "close"} if last else {}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("X-Content-Type-Options")
    finally:
        connection.close()


def test_the_api_and_metrics_are_spoken_to_by_tls(
    server: ServerProcess, files: tuple[Path, Path]
) -> None:
    assert server.url.startswith("https://")
    assert get(server.port, "/v2/queues", trusting(files)) == (200, "nosniff")
    assert get(server.port, "/v2/queues", trusting(files), last=True)[0] == 200
    assert get(port_of(server, "metrics"), "/metrics", trusting(files))[0] == 200


@pytest.mark.parametrize("address", ["listening on", "websockets"])
def test_websockets_are_spoken_by_tls(
    server: ServerProcess, files: tuple[Path, Path], address: str
) -> None:
    url = f"wss://127.0.0.1:{port_of(server, address)}/v2"
    with connect(url, ssl=trusting(files), open_timeout=SOON) as socket_:
        socket_.send(
            '{"action": "queue_list", "headers": {"X-Project-ID": "shop", "Client-ID": '
            f'"{uuid.uuid4()}"}}, "body": {{}}}}'
        )
        assert '"status": 200' in str(socket_.recv(timeout=SOON))


@pytest.mark.parametrize("address", ["listening on", "metrics", "websockets"])
def test_nothing_is_spoken_in_plain(server: ServerProcess, address: str) -> None:
    port = port_of(server, address)
    with socket.create_connection(("127.0.0.1", port), timeout=SOON) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        try:
            while piece := plain.recv(4096):
                received += piece
        except ConnectionResetError:
            pass
        assert b"HTTP/1.1" not in received


def test_old_versions_are_refused(server: ServerProcess, files: tuple[Path, Path]) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(files[0])
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", server.port)) as plain:
        old.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_handshake_that_does_not_come_is_waited_for_so_long(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    environment = {
        "NUSKA_TLS_CERTIFICATE": str(files[0]),
        "NUSKA_TLS_KEY": str(files[1]),
        "NUSKA_HEAD_TIMEOUT": "1",
    }
    with (
        ServerProcess(tmp_path, store="memory:", environment=environment) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=SOON) as silent,
    ):
        assert silent.recv(1) == b""


def test_a_renewed_certificate_is_shown_from_then_on(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = certificate(tmp_path / "a")
    used = Certificate(*files)
    assert not used.look_again()
    for new, old in zip(certificate(tmp_path / "b"), files, strict=True):
        shutil.copyfile(new, old)
    assert used.look_again()
    assert not used.look_again()
    files[1].write_text("half written")
    assert not used.look_again()


def test_a_pair_that_is_none_is_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    cert, key = certificate(tmp_path)
    other = certificate(tmp_path / "b")[1]
    for pair in ((cert, other), (key, cert), (tmp_path / "none", key)):
        with pytest.raises(CannotEncrypt) as caught:
            Certificate(*pair)
        assert str(pair[0]) in str(caught.value)
