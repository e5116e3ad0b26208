"""Opening sockets: what is ours is cleaned up, what is not is left alone."""

import socket
from pathlib import Path

import pytest

from nuska.addresses import TcpAddress, UnixAddress
from nuska.transport.server.listeners import CannotListen, open_listener


def test_port_0_takes_a_free_one_and_says_which() -> None:
    listener = open_listener(TcpAddress("127.0.0.1", 0))
    try:
        with socket.create_connection(("127.0.0.1", listener.address.port)):
            pass
    finally:
        listener.close()


def test_a_name_listens_on_all_its_addresses_at_one_port() -> None:
    listener = open_listener(TcpAddress("localhost", 0))
    try:
        assert {opened.getsockname()[1] for opened in listener.sockets} == {listener.address.port}
    finally:
        listener.close()


def test_an_address_is_had_only_once() -> None:
    first = open_listener(TcpAddress("127.0.0.1", 0))
    try:
        with pytest.raises(CannotListen, match="something else is listening there"):
            open_listener(first.address)
    finally:
        first.close()
    open_listener(first.address).close()


def test_a_name_that_nobody_knows_is_a_sentence() -> None:
    with pytest.raises(CannotListen, match=r"Cannot listen on no\.such\.host\.invalid:80: "):
        open_listener(TcpAddress("no.such.host.invalid", 80))


def test_a_socket_file_in_use_is_left_alone(tmp_path: Path) -> None:
    address = UnixAddress(str(tmp_path / "socket"))
    first = open_listener(address)
    try:
        with pytest.raises(CannotListen, match="something else is listening there"):
            open_listener(address)
        assert (tmp_path / "socket").is_socket()
    finally:
        first.close()
    assert not (tmp_path / "socket").exists()


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(CannotListen, match="not a socket is in the way"):
        open_listener(UnixAddress(str(path)))
    assert path.read_text() == "data"


def test_a_path_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CannotListen, match="Cannot listen on unix:"):
        open_listener(UnixAddress(str(tmp_path / ("a" * 200))))


def test_closing_removes_no_socket_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    ours = open_listener(UnixAddress(str(path)))
    path.unlink()
    theirs = open_listener(UnixAddress(str(path)))
    ours.close()
    assert path.is_socket()
    theirs.close()
