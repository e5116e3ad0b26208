"""Opening sockets: what is ours is cleaned up, what is not is left alone."""

import socket
from pathlib import Path

import pytest

from nuska.addresses import TcpAddress, UnixAddress
from nuska.transport.server.ports import CannotListen, open_port


def test_port_0_takes_a_free_one_and_says_which() -> None:
    port = open_port(TcpAddress("127.0.0.1", 0))
    try:
        with socket.create_connection(("127.0.0.1", port.address.port)):
            pass
    finally:
        port.close()


def test_a_name_listens_on_all_its_addresses_at_one_port() -> None:
    port = open_port(TcpAddress("localhost", 0))
    try:
        assert {opened.getsockname()[1] for opened in port.sockets} == {port.address.port}
    finally:
        port.close()


def test_an_address_is_had_only_once() -> None:
    first = open_port(TcpAddress("127.0.0.1", 0))
    try:
        with pytest.raises(CannotListen, match="something else is listening there"):
            open_port(first.address)
    finally:
        first.close()
    open_port(first.address).close()


def test_a_name_that_nobody_knows_is_a_sentence() -> None:
    with pytest.raises(CannotListen, match=r"Cannot listen on no\.such\.host\.invalid:80: "):
        open_port(TcpAddress("no.such.host.invalid", 80))


def test_a_socket_file_in_use_is_left_alone(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "socket"))
    first = open_port(address)
    try:
        with pytest.raises(CannotListen, match="something else is listening there"):
            open_port(address)
        assert (tmp_path / "socket").is_socket()
    finally:
        first.close()
    assert not (tmp_path / "socket").exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotListen, match="not a socket is in the way"):
        open_port(UnixAddress(str(path)))
    assert path.read_text() == "data"


def test_a_path_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="Cannot listen on unix:"):
        open_port(UnixAddress(str(tmp_path / ("a" * 200))))


def test_closing_removes_no_socket_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    ours = open_port(UnixAddress(str(path)))
    path.unlink()
    theirs = open_port(UnixAddress(str(path)))
    ours.close()
    assert path.is_socket()
    theirs.close()
