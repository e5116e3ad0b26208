"""The pool of connections to subscribers, against a server that answers to the byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from nuska.delivery.senders.connections import IDLE, Connections, Origin
from nuska.delivery.senders.http1 import CallFailed
from nuska.delivery.senders.names import Addresses, Names
from nuska.delivery.senders.requests import head
from nuska.domain.egress import EgressPolicy, judge_url

OPEN = EgressPolicy(loopback=True)
REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PATIENT = 20.0


class Scripted:
    """Answers its requests with these bytes, whole or in pieces, whoever asks."""

    def __init__(self, *answers: bytes | Sequence[bytes]) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.origin = Origin("127.0.0.1", 0, tls=False)
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        """Set when a connection has ended."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readexactly(len(REQUEST)):
                answer = self.answers.pop(0)
                self.asked.set()
                for piece in [answer] if isinstance(answer, bytes) else answer:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.001)
                if b"closing" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.gone.set()


@asynccontextmanager
async def scripted(*answers: bytes | Sequence[bytes]) -> AsyncIterator[Scripted]:
    found = Scripted(*answers)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.origin = Origin("127.0.0.1", server.sockets[0].getsockname()[1], tls=False)
    try:
        yield found
    finally:
        server.close()


@pytest.fixture
async def pool() -> AsyncIterator[Connections]:
    connections = Connections(
        OPEN, connect=PATIENT, total=PATIENT, tls=ssl.create_default_context()
    )
    yield connections
    await connections.close()


async def test_an_answer_may_come_byte_by_byte(pool: Connections) -> None:
    head = b"HTTP/1.1 503 No\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    slow = head + b"2\r\nok\r\n0\r\n\r\n"
    async with scripted([slow[at : at + 1] for at in range(len(slow))], OK) as server:
        answer = await pool.post(server.origin, REQUEST)
        assert (answer.status, answer.retry_after) == (503, "7")
        assert (await pool.post(server.origin, REQUEST)).status == 200
        assert server.connections == 1


async def test_what_is_said_on_the_way_to_an_answer_is_none(pool: Connections) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nRetry-After: 99\r\n\r\n"
    async with scripted([early, early + OK], OK) as server:
        answer = await pool.post(server.origin, REQUEST)
        assert (answer.status, answer.retry_after) == (200, None)
        assert (await pool.post(server.origin, REQUEST)).status == 200
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: closing\r\n\r\nuntil the end",
        OK + b"HTTP/1.1 500",
        OK + OK,
        OK + b"nonsense",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
    ],
    ids=["close", "1.0", "no-length", "half-more", "more", "nonsense", "no-chunks"],
)
async def test_a_connection_that_is_in_doubt_is_not_used_again(
    pool: Connections, answer: bytes
) -> None:
    created = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"
    async with scripted(answer, created) as server:
        assert (await pool.post(server.origin, REQUEST)).status == 200
        assert (await pool.post(server.origin, REQUEST)).status == 201
        assert server.connections == 2


async def test_another_protocol_is_not_switched_to(pool: Connections) -> None:
    switch = b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: something\r\n\r\n"
    async with scripted(switch, OK) as server:
        assert (await pool.post(server.origin, REQUEST)).status == 101
        assert (await pool.post(server.origin, REQUEST)).status == 200
        assert server.connections == 2


async def test_what_was_not_asked_for_ends_the_connection(pool: Connections) -> None:
    async with scripted([OK, b"HTTP/1.1 500 No\r\n\r\n"], OK) as server:
        assert (await pool.post(server.origin, REQUEST)).status == 200
        async with asyncio.timeout(PATIENT):
            await server.gone.wait()
        assert (await pool.post(server.origin, REQUEST)).status == 200
        assert server.connections == 2


async def test_a_connection_that_the_subscriber_closed_is_not_used(pool: Connections) -> None:
    closing = b"HTTP/1.1 200 OK\r\nX: closing\r\nContent-Length: 2\r\n\r\nok"
    async with scripted(closing, OK) as server:
        await pool.post(server.origin, REQUEST)
        async with asyncio.timeout(PATIENT):
            await server.gone.wait()
        await asyncio.sleep(0.05)  # the end is on its way
        assert (await pool.post(server.origin, REQUEST)).status == 200


async def test_two_requests_at_once_have_a_connection_each(pool: Connections) -> None:
    async with scripted(OK, OK, OK) as server:
        await asyncio.gather(*(pool.post(server.origin, REQUEST) for _ in range(2)))
        await pool.post(server.origin, REQUEST)
        assert server.connections == 2


async def test_who_is_not_waited_for_any_more_is_let_go(pool: Connections) -> None:
    async with scripted([b"HTTP/1.1 "], OK) as server:
        waiting = asyncio.create_task(pool.post(server.origin, REQUEST))
        async with asyncio.timeout(PATIENT):
            await server.asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(PATIENT):
            await server.gone.wait()
        assert (await pool.post(server.origin, REQUEST)).status == 200


async def test_a_connection_is_not_kept_for_ever(
    pool: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert IDLE < 5, "what many servers wait"
    monkeypatch.setattr("nuska.delivery.senders.connections.IDLE", 0.0)
    monkeypatch.setattr("nuska.delivery.senders.connections.SWEPT_EVERY", 0.01)
    async with scripted(OK) as server:
        await pool.post(server.origin, REQUEST)
        async with asyncio.timeout(PATIENT):
            await server.gone.wait()


async def test_no_more_connections_are_kept_than_a_limit(
    pool: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.delivery.senders.connections.MOST_IDLE", 1)
    async with scripted(*[OK] * 4) as server:
        for _ in range(2):
            await asyncio.gather(*(pool.post(server.origin, REQUEST) for _ in range(2)))
        assert server.connections == 3


async def test_an_endless_head_of_many_answers_is_left(pool: Connections) -> None:
    async with scripted([b"HTTP/1.1 100 Continue\r\n\r\n" * 100] * 100) as server:
        with pytest.raises(CallFailed, match="not HTTP"):
            await pool.post(server.origin, REQUEST)


# Names


class Slow:
    """Says where a name is when it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.let = asyncio.Event()

    async def resolve(self, host: str, port: int) -> Addresses:
        self.asked += 1
        await self.let.wait()
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    async def close(self) -> None: ...


async def test_a_name_is_asked_for_once_by_all_who_want_it() -> None:
    resolver = Slow()
    names = Names(resolver)
    lookups = [asyncio.create_task(names.look_up("a.example", 80)) for _ in range(5)]
    await asyncio.sleep(0)
    lookups[0].cancel()
    resolver.let.set()
    found = await asyncio.gather(*lookups[1:])
    assert {addresses[0][4] for addresses in found} == {("127.0.0.1", 80)}
    assert await names.look_up("a.example", 80) == found[0]
    assert resolver.asked == 1
    await names.close()


async def test_an_address_is_not_looked_up() -> None:
    names = Names(Slow())
    assert (await names.look_up("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
    assert (await names.look_up("::1", 80))[0][4] == ("::1", 80, 0, 0)


# Requests


@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("http://a.example", "a.example", "/"),
        ("http://a.example:80/x?y=1#z", "a.example", "/x?y=1"),
        ("https://a.example:8443?y=%20", "a.example:8443", "/?y=%20"),
        ("http://A.example./ä", "a.example", "/%C3%A4"),
        ("http://[2606:4700::1111]:8080/x", "[2606:4700::1111]:8080", "/x"),
    ],
)
def test_a_request_names_its_host_and_target(url: str, host: str, target: str) -> None:
    lines = head(judge_url(url, EgressPolicy())).decode().split("\r\n")
    assert lines == [f"POST {target} HTTP/1.1", f"Host: {host}", "Content-Length: "]


def test_the_last_header_of_a_name_counts() -> None:
    url = judge_url("http://a.example/", EgressPolicy())
    lines = head(url, {"A": "1", "B": "2"}, {"a": "3"}).decode().split("\r\n")
    assert lines[2:] == ["a: 3", "B: 2", "Content-Length: "]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\n", "\0"])
def test_no_header_ends_its_line(value: str) -> None:
    url = judge_url("http://a.example/", EgressPolicy())
    with pytest.raises(ValueError, match="ends its line"):
        head(url, {"A": value})
