"""Which addresses are private, and which names the server answers to."""

import pytest

from nuska.addresses import TcpAddress, UnixAddress, host_guard, is_loopback, parse_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8888", TcpAddress("127.0.0.1", 8888)),
        ("localhost:0", TcpAddress("localhost", 0)),
        ("[::1]:80", TcpAddress("::1", 80)),
        ("unix:/run/nuska.sock", UnixAddress("/run/nuska.sock")),
        ("unix:relative", UnixAddress("relative")),
    ],
)
def test_an_address_reads_back_as_it_was_written(
    text: str, address: TcpAddress | UnixAddress
) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", ":80", "a", "a:", "a:b", "a:-1", "a:٣", "::1:80", "a:65536"])
def test_what_is_no_address_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="not"):
        parse_address(text)


def test_an_address_for_everybody_is_reached_on_this_machine() -> None:
    assert TcpAddress("0.0.0.0", 80).url == "http://127.0.0.1:80"
    assert TcpAddress("::", 80).url == "http://[::1]:80"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_loopback_is_private(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.evil", ""])
def test_everything_else_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "value",
    [
        "localhost",
        "localhost:8888",
        "LOCALHOST:1",
        "127.0.0.1:80",
        "[::1]:80",
        "[::1]",
        "::1",
        "localhost.",
        "queue.example",
        "queue.example:8888",
        "Queue.Example.",
    ],
)
def test_our_own_names_are_answered_to(value: str) -> None:
    assert host_guard(["queue.example"])(value)


@pytest.mark.parametrize(
    "value",
    [
        "evil.example",
        "evil.example:8888",
        "localhost.evil.example",
        "evil-localhost",
        "10.0.0.1",
        "a@localhost",
        "localhost,evil.example",
        "localhost/evil",
        ":80",
        "[::1",
        "localhost:x",
        "null",
        "evil.example#localhost",
        "127.0.0.1.evil.example",
        "xqueue.example",
    ],
)
def test_other_names_are_not(value: str) -> None:
    assert not host_guard(["queue.example"])(value)


def test_no_name_is_no_name_of_ours() -> None:
    assert not host_guard([""])("")


def test_an_open_server_answers_to_any_address_but_to_no_foreign_name() -> None:
    allowed = host_guard([], allow_literals=True)
    assert allowed("10.0.0.1:8888")
    assert allowed("[2001:db8::1]")
    assert not allowed("evil.example")


def test_a_verdict_does_not_change_and_memory_of_verdicts_is_bounded() -> None:
    allowed = host_guard(["queue.example"])
    for number in range(10_000):
        assert not allowed(f"evil-{number}.example")
    assert allowed("queue.example")
    assert allowed("queue.example")
