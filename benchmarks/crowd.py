"""Thousands of WebSocket clients in one process: they connect, say one thing, and count.

Bytes by hand and one ``epoll``, so that the clients cost as little as may be beside the server
that is measured.
"""

import base64
import json
import os
import select
import socket
import struct
import time
from collections.abc import Sequence

from benchmarks.wire import PRODUCER, PROJECT
from benchmarks.wrk import LoadFailed

WITHIN = 120.0
_PIECE = 262_144
_CONNECTING = 200
"""Handshakes under way at a time."""
_PING, _PONG, _CLOSE = 9, 10, 8


class Crowd:
    """Clients of one server; ends with the block."""

    def __init__(self, port: int, *, deflate: bool) -> None:
        self._port = port
        self._deflate = deflate
        self._poll = select.epoll()
        self._members: dict[int, _Member] = {}
        self.received = 0
        """Text messages, of all members."""

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for member in self._members.values():
            member.socket.close()

    def join(self, count: int, *greetings: bytes) -> None:
        """``count`` more members, who say ``greetings`` and wait for the replies to them."""
        for start in range(0, count, _CONNECTING):
            some = [self._connect(greetings) for _ in range(min(_CONNECTING, count - start))]
            replies = self.received + len(some) * len(greetings)
            deadline = time.monotonic() + WITHIN
            while self.received < replies or not all(member.open for member in some):
                self._turn(deadline)

    def say(self, text: bytes) -> None:
        """By the member that came first."""
        next(iter(self._members.values())).socket.sendall(_frame(text))

    def until(self, received: int) -> None:
        """Wait until so many messages have come to all members together."""
        deadline = time.monotonic() + WITHIN
        while self.received < received:
            self._turn(deadline)

    def rest(self, seconds: float) -> None:
        """Answer pings for so long."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self._read(left)

    def _connect(self, greetings: Sequence[bytes]) -> "_Member":
        member = _Member(socket.create_connection(("127.0.0.1", self._port)))
        offer = "permessage-deflate; client_max_window_bits" if self._deflate else ""
        lines = [
            "GET /v2/websocket HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            *([f"Sec-WebSocket-Extensions: {offer}"] if offer else []),
        ]
        member.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        for greeting in greetings:
            member.socket.sendall(_frame(greeting))
        member.socket.setblocking(False)
        self._members[member.socket.fileno()] = member
        self._poll.register(member.socket.fileno(), select.EPOLLIN)
        return member

    def _turn(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise LoadFailed("a crowd of WebSocket clients was not answered in time")
        self._read(left)

    def _read(self, timeout: float) -> None:
        for number, _ in self._poll.poll(timeout):
            self.received += self._members[number].read()


class _Member:
    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.open = False
        self._buffer = b""

    def read(self) -> int:
        """Take what has come; how many messages that was."""
        piece = self.socket.recv(_PIECE)
        if not piece:
            raise LoadFailed("a server has closed a WebSocket connection")
        data = self._buffer + piece
        if not self.open:
            head, end, rest = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = data
                return 0
            if b" 101 " not in head[:20]:
                raise LoadFailed(f"no WebSocket here: {head[:100]!r}")
            self.open, data = True, rest
        at = count = 0
        while (frame := _next(data, at)) is not None:
            opcode, start, at = frame
            if opcode == _PING:
                self.socket.sendall(_frame(data[start:at], _PONG))
            elif opcode == _CLOSE:
                raise LoadFailed(f"closed: {data[start:at]!r}")
            else:
                count += 1
        self._buffer = data[at:]
        return count


def _next(data: bytes, at: int) -> tuple[int, int, int] | None:
    """Opcode, begin and end of the payload of the frame at ``at``; None: it is not whole."""
    if len(data) < at + 2:
        return None
    size, start = data[at + 1] & 0x7F, at + 2
    if size == 126:
        if len(data) < start + 2:
            return None
        [size] = struct.unpack_from("!H", data, start)
        start += 2
    elif size == 127:
        if len(data) < start + 8:
            return None
        [size] = struct.unpack_from("!Q", data, start)
        start += 8
    end = start + size
    return (data[at] & 0x0F, start, end) if len(data) >= end else None


def _frame(payload: bytes, opcode: int = 1) -> bytes:
    """As a client sends it; the mask is of zeros."""
    if len(payload) < 126:
        head = bytes([0x80 | opcode, 0x80 | len(payload)])
    else:
        head = bytes([0x80 | opcode, 0xFE]) + struct.pack("!H", len(payload))
    return head + b"\0\0\0\0" + payload


def request(action: str, *, key: str | None = None, **body: object) -> bytes:
    """A request of Nuska's as its message; ``key``: an API key that it shows."""
    headers = {"Client-ID": PRODUCER, "X-Project-ID": PROJECT}
    if key is not None:
        headers["X-Api-Key"] = key
    return json.dumps({"action": action, "headers": headers, "body": body}).encode()
