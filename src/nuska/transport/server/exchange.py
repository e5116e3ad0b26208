"""One request and its answer, as the ASGI application sees them."""

import asyncio
import logging
from typing import TYPE_CHECKING

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent, HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.refusals import BUG, NOSNIFF

if TYPE_CHECKING:
    from nuska.transport.server.connection import Connection

_NOSNIFF = f"{': '.join(NOSNIFF)}\r\n".encode()
"""On every answer: what somebody posted is data, whatever a browser takes it for."""
_REQUEST_ID = b"x-openstack-request-id"
_NO_BODY = frozenset({204, 304})
logger = logging.getLogger("nuska.server")


class News:
    """An event for one waiter, made for every request: ``asyncio.Event`` costs thrice that."""

    __slots__ = ("_waiter", "there")

    def __init__(self) -> None:
        self.there = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        self.there = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        assert self._waiter is None, "a request has one reader"
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Exchange(RequestResponseCycle):
    """uvicorn's cycle with its answer encoded in one piece and nothing left to its own words.

    Every answer carries the request's id, whether the application added it or not.
    """

    message_event: News  # type: ignore[assignment]  # as much of an event as is used

    def __init__(
        self,
        connection: "Connection",
        scope: HTTPScope,
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.connection = connection
        self.scope = scope
        self.transport = connection.transport
        self.flow = connection.flow
        self.keep_alive = keep_alive
        self.waiting_for_100_continue = expects_continue
        self.message_event = News()
        self.disconnected = False
        self.body = bytearray()
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.status = 0
        self.request_id: str = scope["nuska.request_id"]  # type: ignore[typeddict-item]
        self.began_at = connection.loop.time() if connection.shared.log_request else 0.0
        self.task: asyncio.Task[None] | None = None
        self._head = b""
        """Encoded, and held back until the first piece of the body goes with it."""
        self._unsent = -1
        """Bytes of body still to come; negative: chunked."""

    async def run_asgi(self, app: AsgiApp) -> None:
        try:
            await app(self.scope, self.receive, self.send)
            if not self.response_complete and not self.disconnected:
                raise RuntimeError("the application returned without a complete answer")
        except asyncio.CancelledError:
            self.transport.abort()
            raise
        except Exception as error:
            self._crash(error)
        finally:
            if self.task is not None:
                self.connection.tasks.discard(self.task)

    async def receive(self) -> ASGIReceiveEvent:
        if self.waiting_for_100_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.waiting_for_100_continue = False
        if not (self.disconnected or self.response_complete):
            self.flow.resume_reading()
            if not self.message_event.there:
                await self.message_event.wait()
            self.message_event.there = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: ASGISendEvent) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            self._start(message["status"], list(message.get("headers", [])))
        elif message["type"] == "http.response.body":
            self._continue(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"an answer has no part {message['type']!r}")

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.response_started:
            raise RuntimeError("the answer was started twice")
        self.response_started = True
        self.waiting_for_100_continue = False
        self.status = status
        shared = self.connection.shared
        lines = [STATUS_LINE[status], shared.date_line, _NOSNIFF]
        has_id = False
        for name, value in headers:
            if name == b"content-length":
                self._unsent = int(value)
            elif name == _REQUEST_ID:
                has_id = True
            elif name == b"connection":
                self.keep_alive = self.keep_alive and b"close" not in value.lower()
                continue
            elif name == b"transfer-encoding":
                continue
            lines += (name, b": ", value, b"\r\n")
        count = len(lines) // 4 + 3
        if not has_id:
            lines += (_REQUEST_ID, b": ", self.request_id.encode(), b"\r\n")
            count += 1
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
            count += 1
        if status in _NO_BODY or self.scope["method"] == "HEAD":
            self._unsent = 0
        elif self._unsent < 0:
            lines.append(b"transfer-encoding: chunked\r\n")
            count += 1
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != count + 1 or head.count(b"\r") != count + 1 or b"\0" in head:
            self.response_started = False
            raise RuntimeError("a header of the answer holds a control character")
        self._head = head

    def _continue(self, body: bytes, *, more: bool) -> None:
        if not self.response_started or self.response_complete:
            raise RuntimeError("a piece of body outside an answer")
        if self.scope["method"] == "HEAD" or self.status in _NO_BODY:
            body = b""
        elif self._unsent < 0:
            body = (b"%x\r\n%b\r\n" % (len(body), body)) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        else:
            self._unsent -= len(body)
            if self._unsent < 0 or (self._unsent and not more):
                raise RuntimeError("the answer is not as long as its Content-Length")
        if self._head:
            body, self._head = self._head + body, b""
        if body:
            self.connection.piece = len(body)
            self.transport.write(body)
        if not more:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        connection = self.connection
        shared = connection.shared
        if shared.log_request is not None:
            shared.log_request(self, connection.loop.time() - self.began_at)
        connection.on_response_complete()

    def _crash(self, error: Exception) -> None:
        """Say so in the log, and to the client as far as that is still possible."""
        if self.disconnected:
            return  # what a handler trips over once its client has gone is no news
        logger.error(
            "a request failed unexpectedly",
            exc_info=error,
            extra={"request_id": self.request_id, "method": self.scope["method"]},
        )
        self.connection.shared.counters.crashes += 1
        if self.response_complete:
            return
        self.keep_alive = False
        if self.response_started and not self._head:
            self.transport.abort()  # part of another answer is on its way: nothing fits now
            return
        self.status = BUG.status
        self.transport.write(BUG.encode(self.request_id, self.connection.shared.date_line))
        self._complete()
