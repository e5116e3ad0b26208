"""One connection: what may arrive on it, how much, and by when.

Receiving and answering run side by side, since a client may send its next request before
it has the answer. ``phase`` is about receiving only; ``running`` is the exchange whose turn
it is to answer. Whatever could be read in two ways (RFC 9112 §6.3, §11.2) is refused, and
nothing that follows on the same connection is read.
"""

import asyncio
import select
import urllib.parse
from collections import deque
from enum import IntEnum
from typing import Any, cast

import httptools
from uvicorn._types import HTTPScope
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nuska.transport.server import bounds as at_most
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.bounds import LINGER
from nuska.transport.server.exchange import Exchange
from nuska.transport.server.handshake import is_handshake, upgrade
from nuska.transport.server.refusals import (
    BODY_TOO_SLOW,
    HEAD_TOO_LARGE,
    HEAD_TOO_SLOW,
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
_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""The other end has closed, or shut its sending half, which means the same here."""
BLANKS = b" \t"


class Phase(IntEnum):
    IDLE = 0
    """Between requests."""
    HEAD = 1
    BODY = 2
    DEAF = 3
    """Nothing more is read; answers still owed are given, then the connection ends."""


_IDLE, _HEAD, _BODY, _DEAF = Phase


class _Stop(Exception):
    """Leaves the parser from within a callback; why is in ``_verdict``."""


class Connection(HttpToolsProtocol):
    cycle: Exchange
    pipeline: deque[tuple[Exchange, AsgiApp]]  # type: ignore[assignment]

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared.config, shared, {}, loop)
        self.shared = shared
        self.phase: Phase = _IDLE
        self.since = shared.now
        """When the phase began, or the last answer ended."""
        self.running: Exchange | None = None
        self._verdict: Refusal | None = None
        """Why a callback left the parser; None: it has read all it will read."""
        self._last_words: Refusal | None = None
        """Said after the answers that are owed."""
        self._stalled_since = 0.0
        self.piece = 0
        """Bytes of the piece written last: it stays in memory until all of it has gone."""
        self._chunk = 0
        """Bytes of the piece of input that the parser is at."""
        self._begins = 0
        """Requests that began in that piece."""
        self._head_size = 0
        """Bytes of the current head that came in earlier pieces."""
        self._body_size = 0
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
        if phase == _DEAF:
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
            if isinstance(error.__context__, _Stop):
                self._stop_reading()
            else:
                self._refuse(NOT_HTTP)
        if self.phase == _HEAD:
            self._weigh_head(alone=phase == _IDLE)
        elif self.phase == _BODY and phase == _BODY:
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
        self.phase = _HEAD
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
        self.phase = _BODY
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
        self.phase = _IDLE
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
        elif self.phase == _IDLE:
            self.since = self.shared.now

    def gone(self) -> bool:
        """Whether the client has hung up by now, as far as the kernel knows.

        Asks the socket: the event loop hears of it only at its next turn, and whoever has just
        taken messages for this client must know before that.
        """
        return self.transport.is_closing() or self._happened(_HUNG_UP)

    def _happened(self, events: int) -> bool:
        """As the socket says, of which the event loop may hear at its next turn only."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), events)
        return bool(poll.poll(0))

    def check(self, now: float) -> None:
        """Hold the connection to its deadlines."""
        limits = self.shared.bounds
        waited = now - self.since
        if self.flow.write_paused:
            if now - self._stalled_since > limits.send_timeout:
                self.transport.abort()
        elif self.phase == _IDLE:
            # A handler may take its time: long polls do.
            if self.running is None and waited > self._patience():
                self._hang_up()
        elif self.phase == _DEAF:
            unsent = self.transport.get_write_buffer_size()
            if self.running is None and waited > (limits.send_timeout if unsent else LINGER):
                self.transport.abort()
        elif self.flow.read_paused:
            self.since = now  # we made the client wait
        elif self.phase == _HEAD:
            if waited > limits.head_timeout:
                self._refuse(HEAD_TOO_SLOW)
        elif waited > limits.body_timeout:
            self._refuse(BODY_TOO_SLOW)

    def shutdown(self) -> None:
        """The server is stopping: answer what has begun, then end."""
        if self.running is not None:
            self.running.keep_alive = False
        elif self.phase == _IDLE:
            if not self.transport.is_closing() and self._happened(select.POLLIN):
                self.since = self.shared.now  # it is read at the loop's next turn
            elif self.cycle is not None or self.shared.now - self.since > at_most.FIRST_WITHIN:
                self._hang_up()
        elif self.phase == _DEAF:
            self.transport.close()

    def _patience(self) -> float:
        """Seconds for which a request is waited for."""
        if self.shared.stopping:
            return at_most.FIRST_WITHIN
        limits = self.shared.bounds
        return limits.head_timeout if self.cycle is None else limits.idle_timeout

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

    def _leave(self, verdict: Refusal | None) -> None:
        self._verdict = verdict
        raise _Stop

    def _stop_reading(self) -> None:
        if self._verdict is not None:
            self._refuse(self._verdict)
        else:
            self._finish_after_answers()

    def _finish_after_answers(self) -> None:
        """Read no more; the last request taken is answered with ``connection: close``."""
        self.phase = _DEAF
        self.since = self.shared.now
        self.cycle.keep_alive = False
        if self.running is None:
            self._hang_up()

    def _refuse(self, refusal: Refusal) -> None:
        """Read no more; answer what is owed, then with ``refusal``, then end."""
        body_was_due, self.phase = self.phase == _BODY, _DEAF
        self.since = self.shared.now
        self._body_size = 0
        cycle = self.cycle
        if body_was_due and cycle.response_complete:
            self._hang_up()  # answered before its body went wrong: nothing to add
            return
        if body_was_due and self.pipeline:
            self.pipeline.popleft()  # its handler has not begun
        elif body_was_due:
            self.running = None
            cycle.disconnected = True  # the handler learns that no more body will come
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.abort()
                return
        if self.running is not None:
            self._last_words = refusal
        else:
            self._say(refusal)

    def _say(self, refusal: Refusal) -> None:
        shared = self.shared
        shared.counters.refused(refusal.status)
        self.transport.write(refusal.encode(shared.request_ids.next(), shared.date_line))
        self._hang_up()

    def _hang_up(self) -> None:
        """End the connection so that what was written last can still be read.

        When input is still coming, closing at once would make the kernel reset the
        connection and take the answer away from the client; so only our side is ended.
        """
        self.since = self.shared.now
        if self.phase == _IDLE or self.scheme == "https":  # TLS says good-bye by itself
            self.transport.close()
        elif self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self.phase = _DEAF

    def _drain(self, count: int) -> None:
        self._body_size += count
        if self._body_size > at_most.MAX_DRAINED:
            self.transport.abort()

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
