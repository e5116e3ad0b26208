"""A blocking HTTP client on a bare socket: a request is bytes, an answer is timed.

It costs some ten microseconds a request, so that what it measures is the server. It knows
only what Nuska's answers need: ``Content-Length`` or no body, and keep-alive.
"""

import json
import socket
import time
from types import TracebackType
from typing import Any, Self

from msgspec import Struct

PROJECT = "bench"
PRODUCER = "0f8fad5bd9cb469fa165708677289501"
WORKER = "0f8fad5bd9cb469fa165708677289502"
_READ = 262_144
_PATIENCE = 60.0


class Answer(Struct, frozen=True, gc=False):
    status: int
    head: bytes
    body: bytes
    seconds: float
    """From the first byte sent to the last byte read."""

    def json(self) -> Any:
        return json.loads(self.body)


class Refused(Exception):
    """An answer of 400 or above where a success was needed."""


def request(
    method: str, path: str, document: object = None, *, client: str = WORKER, **headers: str
) -> bytes:
    """The bytes of one request; ``headers`` are written with ``_`` for ``-``."""
    body = b"" if document is None else json.dumps(document).encode()
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Client-ID: {client}",
        f"X-Project-Id: {PROJECT}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    if document is not None:
        lines.append(f"Content-Length: {len(body)}")
        if "Content_Type" not in headers:
            lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    """One kept-alive connection; closed on leaving."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sent_at = 0.0

    def ask(self, method: str, path: str, document: object = None, **options: str) -> Answer:
        """Send a request and read its answer."""
        return self.exchange(request(method, path, document, **options))

    def must(self, method: str, path: str, document: object = None, **options: str) -> Answer:
        """As ``ask``, but anything from 400 on raises ``Refused``."""
        answer = self.ask(method, path, document, **options)
        if answer.status >= 400:
            raise Refused(f"{method} {path}: {answer.status} {answer.body[:500]!r}")
        return answer

    def exchange(self, message: bytes) -> Answer:
        self.send(message)
        return self.receive()

    def send(self, message: bytes) -> None:
        self._sent_at = time.perf_counter()
        self.socket.sendall(message)

    def receive(self) -> Answer:
        data = self.socket.recv(_READ)
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        head = data[:end].lower()
        at = head.find(b"\ncontent-length:")
        length = int(head[at + 16 :].split(b"\r", 1)[0]) if at > 0 else 0
        status = int(head[9:12])
        if status == 204:
            length = 0
        whole = end + 4 + length
        while len(data) < whole:
            data += self._more()
        seconds = time.perf_counter() - self._sent_at
        return Answer(status, data[:end], data[end + 4 :], seconds)

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _more(self) -> bytes:
        data = self.socket.recv(_READ)
        if not data:
            raise ConnectionError("the server closed the connection within an answer")
        return data
