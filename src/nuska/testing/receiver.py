"""A receiver of webhooks that fails in every way there is, by the path it is called at.

| Path | What it does |
|---|---|
| ``/ok`` | answers 200 |
| ``/status/503``, ``?retry-after=…`` | answers with that status, and that header |
| ``/flaky/3/…`` | answers 500 to the first 3 requests of this very path, then 200 |
| ``/slow/0.5`` | answers 200 after so many seconds |
| ``/hang`` | never answers |
| ``/hang-after-headers`` | begins an answer and never goes on |
| ``/drip`` | sends a byte of an endless head now and then |
| ``/drip-body`` | the same with the body, after a complete head of 200 |
| ``/redirect?to=URL`` | answers 302 |
| ``/reset`` | resets the connection |
| ``/close`` | closes it without an answer |
| ``/huge``, ``/huge/500`` | answers 200, or that, with a body that does not end |
| ``/huge-head`` | answers with a head that does not end |
| ``/nonsense`` | answers, but not in HTTP |

Every request that arrived whole is in ``requests``, with its body. In a test it runs on the
test's event loop; ``python -m nuska.testing.receiver`` is one in a process of its own, which
counts and keeps nothing. At ``/count`` it tells how many requests it has had, how many of them
asked that, and the CPU time it has used.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import struct
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import cast
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

HOST = "127.0.0.1"
DRIP = 0.02
"""Seconds between two bytes."""
MAX_REQUEST = 16_777_216
"""Bytes of a request; a longer one closes the connection."""
_PIECE = b"x" * 65_536
_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class Received(Struct, frozen=True):
    """A request that arrived."""

    method: str
    target: str
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes
    at: float
    """Of the event loop's time."""


class Receiver:
    """What arrives, and where."""

    def __init__(self, host: str = HOST, *, keep: bool = True) -> None:
        self.host = host
        self.requests: list[Received] = []
        self.count = 0
        self.connections = 0
        """How many were ever opened."""
        self.port = 0
        self.scheme = "http"
        self._keep = keep
        self._seen: Counter[str] = Counter()
        self._arrived = asyncio.Event()
        self.open: set[_Connection] = set()
        self.left = asyncio.Event()

    def url(self, path: str = "/ok") -> str:
        return f"{self.scheme}://{self.host}:{self.port}{path}"

    def bodies(self, path: str | None = None) -> list[object]:
        """The documents that arrived, in order; only those at ``path`` when it is given."""
        return [
            json.loads(request.body) for request in self.requests if path in (None, request.target)
        ]

    async def wait_for(self, count: int, within: float = 30.0) -> None:
        """Until ``count`` requests in all have arrived; ``TimeoutError`` when they do not."""
        async with asyncio.timeout(within):
            while self.count < count:
                self._arrived.clear()
                await self._arrived.wait()

    async def wait_until_left(self, within: float = 30.0) -> None:
        """Until no connection is open any more."""
        async with asyncio.timeout(within):
            while self.open:
                self.left.clear()
                await self.left.wait()

    def received(self, request: Received) -> int:
        """Note a request; how many there were of its target."""
        self.count += 1
        if self._keep:
            self.requests.append(request)
        self._arrived.set()
        self._seen[request.target] += 1
        return self._seen[request.target]


class _Connection(asyncio.Protocol):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._flood: bytes | None = None
        self._deaf = False
        """It has begun to misbehave, and takes no further request."""

    @property
    def transport(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class
        self._receiver.connections += 1
        self._receiver.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.open.discard(self)
        self._receiver.left.set()
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._buffer += data
        if len(self._buffer) > MAX_REQUEST:
            self.transport.abort()
        while not self._deaf and (request := self._next_request()) is not None:
            self._answer(request, self._receiver.received(request))

    def _next_request(self) -> Received | None:
        end = self._buffer.find(_END)
        if end < 0:
            return None
        head, start = self._buffer[:end], end + len(_END)
        place = head.lower().find(_LENGTH)
        length = int(head[place + len(_LENGTH) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._buffer) < start + length:
            return None
        body, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return Received(method, target, headers, body, self._loop.time())

    def _answer(self, request: Received, times: int) -> None:
        if request.target == "/ok":
            self.transport.write(_OK)
            return
        parts = urlsplit(request.target)
        name, *rest = parts.path.lstrip("/").split("/")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        match name:
            case "status":
                self._status(int(rest[0]), {"Retry-After": query.get("retry-after")})
            case "flaky":
                self._status(500 if times <= int(rest[0]) else 200)
            case "redirect":
                self._status(302, {"Location": query["to"]})
            case "slow":
                self._timer = self._loop.call_later(float(rest[0]), self.transport.write, _OK)
            case "count":
                self._status(200, body=json.dumps(_totals(self._receiver, times)).encode())
            case "ok":
                self.transport.write(_OK)
            case _:
                self._deaf = True
                self._misbehave(name, rest)

    def _misbehave(self, name: str, rest: list[str]) -> None:
        head = f"HTTP/1.1 {rest[0] if rest else 200} OK\r\nContent-Length: 1000000000\r\n\r\n"
        match name:
            case "hang":
                pass
            case "hang-after-headers":
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n")
            case "drip":
                self.transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                self._drip()
            case "drip-body":
                self.transport.write(head.encode())
                self._drip()
            case "reset":
                _reset(self.transport)
            case "close":
                self.transport.close()
            case "huge":
                self.transport.write(head.encode())
                self._pour(_PIECE)
            case "huge-head":
                self.transport.write(b"HTTP/1.1 200 OK\r\n")
                self._pour(b"X-More: more\r\n" * 1000)
            case "nonsense":
                self.transport.write(b"SSH-2.0-nonsense\r\n")
            case _:
                self._status(404)

    def _status(
        self, status: int, headers: dict[str, str | None] | None = None, body: bytes = b""
    ) -> None:
        phrase = HTTPStatus(status).phrase
        lines = [f"HTTP/1.1 {status} {phrase}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items() if value]
        self.transport.write("\r\n".join(lines).encode() + _END + body)

    def _drip(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"x")
            self._timer = self._loop.call_later(DRIP, self._drip)

    def _pour(self, piece: bytes) -> None:
        """As fast as it is taken, until it is closed."""
        self._flood = piece
        self.resume_writing()

    def pause_writing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def resume_writing(self) -> None:
        if self._flood is not None and not self.transport.is_closing():
            self._timer = self._loop.call_later(0, self.resume_writing)
            self.transport.write(self._flood)


def _reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _totals(receiver: Receiver, asked: int) -> dict[str, float]:
    return {
        "count": receiver.count,
        "asked": asked,
        "connections": receiver.connections,
        "cpu": sum(os.times()[:2]),
    }


@contextlib.asynccontextmanager
async def receiver(
    *,
    tls: ssl.SSLContext | None = None,
    host: str | Sequence[str] = HOST,
    port: int = 0,
    keep: bool = True,
) -> AsyncIterator[Receiver]:
    """A receiver on a free port, or the given one; of several hosts it has the port on each."""
    found = Receiver(host if isinstance(host, str) else host[0], keep=keep)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(found), host, port, ssl=tls, backlog=1024)
    found.port = server.sockets[0].getsockname()[1]
    found.scheme = "https" if tls else "http"
    try:
        yield found
    finally:
        server.close()
        for connection in list(found.open):
            connection.transport.abort()
        await asyncio.sleep(0)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port at which nobody listens, and nobody else will meanwhile."""
    with socket.socket() as held:
        held.bind((HOST, 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def unaccepting_port() -> Iterator[int]:
    """A port at which connections are never completed: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((HOST, 0))
        listener.listen(0)
        for _ in range(8):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def _serve(port: int, hosts: int) -> None:
    """Until whoever started it lets go of standard input, or, with a port, until SIGTERM."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    addresses = [str(ip_address(HOST) + number) for number in range(hosts)]
    async with receiver(host=addresses, port=port, keep=False) as found:
        sys.stdout.write(f"{found.port}\n")
        sys.stdout.flush()
        if port:
            await stopped.wait()
        else:
            await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Serve in this process."""
    import uvloop

    options = argparse.ArgumentParser(description="A receiver of webhooks.")
    options.add_argument("--port", type=int, default=0, help="else a free one")
    options.add_argument("--hosts", type=int, default=1, help="addresses from 127.0.0.1 on")
    given = options.parse_args()
    uvloop.run(_serve(given.port, given.hosts))


if __name__ == "__main__":
    main()
