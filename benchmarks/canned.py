"""A responder that reads no request: it shows what the load generator itself can reach.

Every request that arrives is answered at once with a ready answer of the right status and
size, straight from uvloop's transport. It parses nothing and so serves nothing else.
"""

import argparse
import asyncio
import signal
from typing import cast

import uvloop

_ID = "0123456789abcdef01234567"
_ANSWER_HEAD = "HTTP/1.1 {} \r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
_MESSAGE = (
    '{{"id": "{0}", "href": "/v2/queues/jobs/messages/{0}?claim_id={0}", "ttl": 3600, "age": 2, '
    '"body": {{"job": 17, "kind": "resize", "path": "/in/a.png"}}}}'
)


def _answer(status: int, body: str) -> bytes:
    return (_ANSWER_HEAD.format(status, len(body)) + body).encode()


def _posted(count: int) -> bytes:
    hrefs = ", ".join(f'"/v2/queues/jobs/messages/{_ID}"' for _ in range(count))
    return _answer(201, f'{{"resources": [{hrefs}]}}')


def _claimed(count: int) -> bytes:
    messages = ", ".join(_MESSAGE.format(_ID) for _ in range(count))
    return _answer(201, f'{{"messages": [{messages}]}}')


_DELETED = b"HTTP/1.1 204 \r\n\r\n"


class Responder(asyncio.Protocol):
    """One connection. A request is taken to end where a read does, once its body is there."""

    count = 10

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._missing = 0
        self._answer = b""
        self._ready = {
            b"messages": _posted(self.count),
            b"claims": _claimed(10),
            b"delete": _DELETED,
        }

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        else:
            head, _, body = data.partition(b"\r\n\r\n")
            line = head[: head.find(b"\r\n")]
            if line.startswith(b"DELETE"):
                self._answer = self._ready[b"delete"]
            else:
                self._answer = self._ready[b"claims" if b"/claims" in line else b"messages"]
                at = head.find(b"Content-Length: ")
                length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at > 0 else 0
                self._missing = length - len(body)
        if self._missing <= 0:
            self._missing = 0
            self._transport.write(self._answer)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    server = await loop.create_server(Responder, "127.0.0.1", port, backlog=1024)
    await stopped.wait()
    server.close()


def main() -> None:
    """Serve on a port of the loopback interface until SIGTERM."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--count", type=int, default=1, help="hrefs in a post's answer")
    given = options.parse_args()
    Responder.count = given.count
    uvloop.run(_serve(given.port))


if __name__ == "__main__":
    main()
