"""Ports that nobody else gets while a server is down."""

import socket
from pathlib import Path

import pytest

from nuska.testing import ports
from nuska.testing.ports import free_port


def test_a_port_is_none_that_the_system_gives_and_never_given_twice() -> None:
    first_given, last_given = map(int, ports._GIVEN.read_text().split())
    taken = [free_port() for _ in range(20)] + [free_port(others=(10_000,)) for _ in range(20)]
    assert len(set(taken)) == len(taken)
    near = [port for port in taken if first_given <= port <= last_given]
    assert not near or first_given - ports.FIRST < ports.ENOUGH


def test_a_port_that_somebody_listens_on_is_passed_over() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port() + 1))
        listener.listen()
        assert free_port() != listener.getsockname()[1]
        assert not ports.is_free(listener.getsockname()[1])


@pytest.mark.parametrize("given", ["", "1024\t65535\n"], ids=["unknown", "nearly all"])
def test_where_the_system_gives_nearly_all_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    monkeypatch.setattr(ports, "_GIVEN", tmp_path / "range")
    (tmp_path / "range").write_text(given)
    assert ports.is_free(free_port())
    assert free_port(others=(10_000,)) < 55_536
