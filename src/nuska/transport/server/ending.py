"""How a connection stops being read, and how it ends: refusals, the last words, deadlines, the stop
of the server.

Whoever has asked before is answered before; what is said last must be readable by a client that
still sends. Does not look at what a request says.
"""

import asyncio
import select
from collections import deque
from enum import IntEnum

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from nuska.transport.server import bounds as at_most
from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.bounds import LINGER
from nuska.transport.server.exchange import Exchange
from nuska.transport.server.refusals import BODY_TOO_SLOW, HEAD_TOO_SLOW, Refusal
from nuska.transport.server.shared import Shared

_HUNG_UP = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
"""The other end has closed, or shut its sending half, which means the same here."""


class Phase(IntEnum):
    IDLE = 0
    """Between requests."""
    HEAD = 1
    BODY = 2
    DEAF = 3
    """Nothing more is read; answers still owed are given, then the connection ends."""


IDLE, HEAD, BODY, DEAF = Phase


class Stop(Exception):
    """Leaves the parser from within a callback; why is in ``_verdict``."""


class Ending(HttpToolsProtocol):
    """The part of a connection that ends it."""

    cycle: Exchange
    pipeline: deque[tuple[Exchange, AsgiApp]]  # type: ignore[assignment]

    def __init__(self, shared: Shared, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(shared.config, shared, {}, loop)
        self.shared = shared
        self.phase: Phase = IDLE
        self.since = shared.now
        """When the phase began, or the last answer ended."""
        self.running: Exchange | None = None
        """The exchange whose turn it is to be answered."""
        self._verdict: Refusal | None = None
        """Why a callback left the parser; None: it has read all it will read."""
        self._last_words: Refusal | None = None
        """Said after the answers that are owed."""
        self._stalled_since = 0.0
        """When the client began not to read."""
        self._body_size = 0

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
        elif self.phase == IDLE:
            # A handler may take its time: long polls do.
            if self.running is None and waited > self._patience():
                self._hang_up()
        elif self.phase == DEAF:
            unsent = self.transport.get_write_buffer_size()
            if self.running is None and waited > (limits.send_timeout if unsent else LINGER):
                self.transport.abort()
        elif self.flow.read_paused:
            self.since = now  # we made the client wait
        elif self.phase == HEAD:
            if waited > limits.head_timeout:
                self._refuse(HEAD_TOO_SLOW)
        elif waited > limits.body_timeout:
            self._refuse(BODY_TOO_SLOW)

    def shutdown(self) -> None:
        """The server is stopping: answer what has begun, then end."""
        if self.running is not None:
            self.running.keep_alive = False
        elif self.phase == IDLE:
            if not self.transport.is_closing() and self._happened(select.POLLIN):
                self.since = self.shared.now  # it is read at the loop's next turn
            elif self.cycle is not None or self.shared.now - self.since > at_most.FIRST_WITHIN:
                self._hang_up()
        elif self.phase == DEAF:
            self.transport.close()

    def _patience(self) -> float:
        """Seconds for which a request is waited for."""
        if self.shared.stopping:
            return at_most.FIRST_WITHIN
        limits = self.shared.bounds
        return limits.head_timeout if self.cycle is None else limits.idle_timeout

    def _leave(self, verdict: Refusal | None) -> None:
        self._verdict = verdict
        raise Stop

    def _stop_reading(self) -> None:
        if self._verdict is not None:
            self._refuse(self._verdict)
        else:
            self._finish_after_answers()

    def _finish_after_answers(self) -> None:
        """Read no more; the last request taken is answered with ``connection: close``."""
        self.phase = DEAF
        self.since = self.shared.now
        self.cycle.keep_alive = False
        if self.running is None:
            self._hang_up()

    def _refuse(self, refusal: Refusal) -> None:
        """Read no more; answer what is owed, then with ``refusal``, then end."""
        body_was_due, self.phase = self.phase == BODY, DEAF
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
        if self.phase == IDLE or self.scheme == "https":  # TLS says good-bye by itself
            self.transport.close()
        elif self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self.phase = DEAF

    def _drain(self, count: int) -> None:
        self._body_size += count
        if self._body_size > at_most.MAX_DRAINED:
            self.transport.abort()
