"""One connection: what may arrive on it, and how much; how it ends stands in ``ending.py``.

Receiving and answering run side by side, since a client may send its next request before
it has the answer. ``phase`` is about receiving only; ``running`` is the exchange whose turn
it is to answer. Whatever could be read in two ways (RFC 9112 §6.3, §11.2) is refused, and
nothing that follows on the same connection is read.
"""

import asyncio
import urllib.parse
from typing import Any, cast

import httptools
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT

from nuska.transport.server import bounds as at_most
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.ending import BODY, DEAF, HEAD, IDLE, Ending, Stop
from nuska.transport.server.exchange import Exchange
from nuska.transport.server.handshake import is_handshake, upgrade
from nuska.transport.server.refusals import (
    HEAD_TOO_LARGE,
    NOT_HTTP,
    STOPPING,
    TOO_MANY_CONNECTIONS,
    Refusal,
    malformed,
)
from nuska.transport.server.shared import Shared

_LINE_OVERHEAD = 4
"""Bytes of a header line that are neither name nor value."""
_TURNED_AWAY_AT_ONCE = 64
"""Connections beyond the limit that are told so; the rest are just closed."""
BLANKS = b" \t"


class Connection(Ending):
    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared, loop)
        self.piece = 0
        """Bytes of the piece written last: it stays in memory until all of it has gone."""
        self._chunk = 0
        """Bytes of the piece of input that the parser is at."""
        self._begins = 0
        """Requests that began in that piece."""
        self._head_size = 0
        """Bytes of the current head that came in earlier pieces."""
        self._framing = 0
        """Bytes received for the current body that were not body."""
        self._has_host = False
        self._chunked = False
        self._handshake: dict[str, Any] | None = None
        """The request after which this is a WebSocket."""

    # From the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        shared = self.shared
        shared.counters.connections += 1
        shared.deserted.clear()
        self.since = shared.now
        excess = len(self.connections) - shared.bounds.max_connections
        if excess > _TURNED_AWAY_AT_ONCE:
            shared.counters.refused(TOO_MANY_CONNECTIONS.status)
            transport.abort()
        elif excess > 0:
            self._refuse(TOO_MANY_CONNECTIONS)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.shared.flowing(self)
        self.pipeline.clear()
        if self.running is not None:
            self.running.disconnected = True
            self.running.message_event.set()
        if self.shared.stopping and not self.connections:
            self.shared.deserted.set()

    def data_received(self, data: bytes) -> None:
        phase = self.phase
        if phase == DEAF:
            self._drain(len(data))
            return
        self._chunk = len(data)
        self._begins = 0
        body_before = self._body_size
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as end:
            if self._handshake is not None and self.shared.sockets is not None:
                upgrade(self, self.shared.sockets, self._handshake, data[end.args[0] :])
                return
            self._finish_after_answers()  # nothing else is spoken here: answered as HTTP
        except httptools.HttpParserError as error:
            if isinstance(error.__context__, Stop):
                self._stop_reading()
            else:
                self._refuse(NOT_HTTP)
        if self.phase == HEAD:
            self._weigh_head(alone=phase == IDLE)
        elif self.phase == BODY and phase == BODY:
            self._framing += len(data) - (self._body_size - body_before)
            allowed = at_most.MAX_FRAMING + at_most.FRAMING_PER_BYTE * self._body_size
            if self._framing > allowed:
                self._refuse(malformed("The body is nearly all framing."))

    def pause_writing(self) -> None:
        self._stalled_since = self.shared.now
        super().pause_writing()
        self.shared.stalled(self, max(self.piece, self.transport.get_write_buffer_size()))

    def resume_writing(self) -> None:
        self.shared.flowing(self)
        super().resume_writing()

    # From the parser

    def on_message_begin(self) -> None:
        self.phase = HEAD
        self.since = self.shared.now
        self._begins += 1
        self._head_size = 0
        self._has_host = False
        self._chunked = False
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if value and value[-1] in BLANKS:  # the parser takes off the ones before it alone
            value = value.rstrip(BLANKS)
        if name == b"host":
            if self._has_host:
                self._leave(malformed("The request names its host twice."))
            self._has_host = True
        elif name == b"transfer-encoding":
            if value.lower() != b"chunked":
                self._leave(malformed("Transfer-Encoding can only be chunked."))
            self._chunked = True
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))
        if len(self.headers) > at_most.MAX_HEADERS:
            self._leave(HEAD_TOO_LARGE)

    def on_headers_complete(self) -> None:
        if self._head_size + self._chunk > at_most.MAX_HEAD and self._measure() > at_most.MAX_HEAD:
            self._leave(HEAD_TOO_LARGE)
        shared = self.shared
        parser = self.parser
        version = parser.get_http_version()
        if version != "1.1" and (version != "1.0" or self._chunked):
            self._leave(malformed("Only HTTP/1.1 is spoken here, and plain HTTP/1.0."))
        path, _, query = self._target().partition(b"?")
        decoded = path.decode("ascii")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": parser.get_method().decode("ascii"),
            "root_path": "",
            "path": urllib.parse.unquote(decoded) if "%" in decoded else decoded,
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
            "nuska.request_id": shared.request_ids.next(),
            "nuska.gone": self.gone,
        }
        if self._is_handshake(decoded):
            if shared.stopping:
                self._leave(STOPPING)
            self._handshake = scope
            return
        self.headers = []  # trailers, which nobody reads, must not look like headers
        self.scope = cast("HTTPScope", scope)
        cycle = Exchange(
            self,
            self.scope,
            keep_alive=version == "1.1" and parser.should_keep_alive() and not shared.stopping,
            expects_continue=self.expect_100_continue,
        )
        self._take(cycle, shared.side_apps.get(decoded, self.app))
        self.phase = BODY
        self.since = shared.now
        self._body_size = self._framing = 0

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        cycle = self.cycle
        if cycle.response_complete or cycle.disconnected:
            self._drain(0)
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self.phase = IDLE
        self.since = self.shared.now
        if self._handshake is not None:
            return
        cycle = self.cycle
        cycle.more_body = False
        cycle.message_event.set()

    # From the handshake

    def refuse_upgrade(self, refusal: Refusal) -> None:
        self._handshake = None
        self._refuse(refusal)

    def leave(self) -> None:
        """Somebody else has the transport from now on."""
        self._unset_keepalive_if_required()
        self.connections.discard(self)
        self._handshake = None

    # From the exchange, the ticks, and the server

    def on_response_complete(self) -> None:
        """The running exchange has been answered: on to the next, or wait for one."""
        cycle, self.running = self.running, None
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if cycle is not None and not cycle.keep_alive:
            self._hang_up()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._run(*self.pipeline.pop())
        elif self._last_words is not None:
            self._say(self._last_words)
        elif self.phase == IDLE:
            self.since = self.shared.now

    # How it is done

    def _target(self) -> bytes:
        """Path and query of the request line, without a fragment."""
        url = self.url
        if url.startswith(b"/") or url == b"*":
            return url.partition(b"#")[0]
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            self._leave(malformed("The target of the request is not a path."))
            raise
        host = (parsed.host or b"") + (b":%d" % parsed.port if parsed.port else b"")
        if dict(self.headers).get(b"host", host).lower() != host.lower():
            self._leave(malformed("The target of the request names another host than Host."))
        return (parsed.path or b"/") + (b"?" + parsed.query if parsed.query else b"")

    def _is_handshake(self, path: str) -> bool:
        """Whether what was read asks for WebSockets where there are some, in its turn."""
        paths = self.shared.websocket_paths
        return (
            self.shared.sockets is not None
            and (paths is None or path in paths)
            and self.parser.should_upgrade()
            and self.running is None
            and is_handshake(self.headers)
        )

    def _take(self, cycle: Exchange, app: AsgiApp) -> None:
        if self.running is None:
            self.cycle = cycle
            self._run(cycle, app)
        elif len(self.pipeline) < at_most.MAX_PIPELINED:
            self.cycle = cycle
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))
        else:
            self._leave(None)

    def _run(self, cycle: Exchange, app: AsgiApp) -> None:
        self.running = cycle
        cycle.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(cycle.task)

    def _weigh_head(self, *, alone: bool) -> None:
        """Refuse a head that is still incomplete and already too large."""
        if self._begins == 0:
            self._head_size += self._chunk
        else:
            # Exact when this piece of input holds nothing else, else what the parser told.
            only_this = alone and self._begins == 1
            self._head_size = self._chunk if only_this else self._measure()
        if self._head_size > at_most.MAX_HEAD:
            self._refuse(HEAD_TOO_LARGE)

    def _measure(self) -> int:
        lines = sum(len(name) + len(value) + _LINE_OVERHEAD for name, value in self.headers)
        return len(self.url) + lines
