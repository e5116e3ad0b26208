"""One WebSocket connection: bytes in, bytes out, and by when.

Frames are the ``websockets`` library's, what they say is the session's. Here is what keeps a
connection from costing more than it should: a client that does not read is not read from, and
one that gets pushes and does not read them is closed, with a reason, when a bound is reached;
one that does not answer pings is gone; nothing is read while as many requests are under way as
may be, nor anything large while those of all connections take too much memory, and what is packed
is unpacked only as far as there is room for it; a message that is not finished in time, and a
client that does not say in time who it is, end the connection.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any

from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from nuska.core.live import Announced
from nuska.transport.server import bounds as at_most
from nuska.transport.server.arrivals import Arrivals
from nuska.transport.server.framing import framed, framing_of
from nuska.transport.server.shared import Shared
from nuska.transport.server.sockets import (
    CLOSE_TIMEOUT,
    CROWDED,
    IDLE,
    RESTART,
    SLOW,
    UNANSWERED,
    UNEXPECTED,
    UNFINISHED,
    Sockets,
)
from nuska.transport.websocket.pushes import Notice, Pushes, encode_push, in_encoding
from nuska.transport.websocket.session import EXPIRED, Answer
from nuska.transport.websocket.turns import Turn

_END = b""
"""What the library writes for "end our side"."""
_GONE = 1006
TOGETHER = 16
"""Replies in one write, at most, of those that could leave one by one: the client is to begin
with them before the last of many is made."""
LARGE = 16_384
"""Bytes of replies that wait for no others: a client is busy with so many for longer than one more
write takes us, so it is to begin with them while the next reply is made."""
logger = logging.getLogger("nuska.server")


class WebSocketConnection(asyncio.Protocol):
    """From the end of the handshake on."""

    __slots__ = (
        "_address",
        "_arrivals",
        "_closing_since",
        "_drained",
        "_framing",
        "_heard",
        "_opened",
        "_pinged",
        "_protocol",
        "_reading",
        "_requested",
        "_said",
        "_shared",
        "_sockets",
        "_stalled_since",
        "_stopping",
        "_tasks",
        "_to_send",
        "_unfinished",
        "_waits_for_room",
        "_weighs",
        "session",
        "transport",
    )

    def __init__(
        self,
        shared: Shared,
        sockets: Sockets,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        address: str,
    ) -> None:
        self._shared = shared
        self._sockets = sockets
        self.transport = transport
        self._protocol = protocol
        self._address = address
        self.session = sockets.service.open_session(self, address)
        self._arrivals = Arrivals(protocol, sockets.max_message)
        self._framing = framing_of(protocol.extensions)
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard = self._requested = self._opened = shared.now
        self._pinged = self._stalled_since = self._closing_since = self._waits_for_room = 0.0
        """Since when; 0.0: not so."""
        self._weighs = 0
        """What the requests in hand take of the room for all."""
        self._drained = 0
        self._reading = True
        self._to_send = False
        """What there is to send goes at the end of this turn of the loop."""
        self._unfinished = False
        """Bytes of a message are kept that has not been finished."""
        self._stopping = False
        self._said: int | None = None
        """The code with which we have closed."""
        transport.set_write_buffer_limits(high=sockets.bounds.max_outbox)
        shared.connections.add(self)  # type: ignore[arg-type]  # as much of one as is used
        sockets.add(self, address)

    # From the transport

    def data_received(self, data: bytes) -> None:
        self._heard = self._shared.now
        self._pinged = 0.0
        if self._closing_since:
            self._arrivals.pass_over(data)
            self._drain(len(data))
        else:
            self._arrivals.come(data, self._shared.now)
        self._write_protocol()
        self._go_on()

    def eof_received(self) -> bool:
        """A client that has ended its side wants no replies either."""
        return False

    def pause_writing(self) -> None:
        self._stalled_since = self._shared.now
        self._shared.stalled(self, self.transport.get_write_buffer_size())
        self.session.hold()
        self._mind_reading()

    def resume_writing(self) -> None:
        self._stalled_since = 0.0
        self._shared.flowing(self)
        self.session.go_on()
        self._go_on()

    def connection_lost(self, _error: Exception | None) -> None:
        shared = self._shared
        received = self._protocol.close_rcvd
        self._sockets.counters.ended(
            self._said or (_GONE if received is None else int(received.code))
        )
        shared.connections.discard(self)
        shared.flowing(self)
        self._sockets.remove(self, self._address)
        self._let_go()
        self._sockets.service.closed(self.session)
        self._weigh()
        if shared.stopping and not shared.connections:
            shared.deserted.set()

    # From the session

    def flush(self) -> None:
        """The session has something to start or to send."""
        self._go_on()

    def close(self, code: int, reason: str) -> None:
        """Begin to end the connection."""
        if self._protocol.state is OPEN:
            self._send()
            self._said = code
            self._protocol.send_close(code, reason)
            self._begin_to_close()
            self._write_protocol()

    def has_gone(self) -> bool:
        return self.transport.is_closing()

    # From the ticks, and the server

    def check(self, now: float) -> None:
        """Hold the connection to its deadlines."""
        bounds, session = self._sockets.bounds, self.session
        if self._closing_since:
            if now - self._closing_since > CLOSE_TIMEOUT:
                self.transport.abort()
        elif self._stalled_since:
            slow = now - self._stalled_since
            if session.is_subscribed and slow > bounds.websocket_slow_timeout:
                self.close(SLOW, "too slow: what was sent is not being read")
            elif slow > self._shared.bounds.send_timeout:
                self.transport.abort()
        elif self._pinged:
            if now - self._pinged > bounds.ping_timeout:
                self.close(UNANSWERED, "no answer to a ping")
        elif not self._reading:
            self._heard = now  # we made the client wait
        elif now - self._heard > bounds.ping_interval:
            self._pinged = now
            self._protocol.send_ping(b"")
            self._write_protocol()
        self._check_beginnings(now)
        if not session.in_flight and not session.is_subscribed:
            if now - self._requested > bounds.websocket_idle_timeout:
                self.close(IDLE, "idle")
        else:
            self._requested = now
        if self._waits_for_room:
            self._check_room(now)
        if session.has_an_end:
            session.tick()

    def _check_beginnings(self, now: float) -> None:
        """Whoever begins goes on to say who it is, and to the end of its message."""
        session, arrivals = self.session, self._arrivals
        if arrivals.begun_at and not self._reading:
            arrivals.begun_at = now  # we made the client wait
        elif arrivals.begun_at and now - arrivals.begun_at > self._shared.bounds.body_timeout:
            self.close(UNFINISHED, "a message was not finished in time")
        elif session.is_known or session.in_flight:
            pass
        elif now - self._opened > self._sockets.bounds.websocket_authenticate_timeout:
            self.close(EXPIRED, "Nobody has authenticated in time.")

    def _check_room(self, now: float) -> None:
        if self.session.is_being_introduced:
            self._waits_for_room = now  # for that, and not for room
        elif now - self._waits_for_room > at_most.ROOM_WITHIN:
            self.close(CROWDED, "there is no room for a message of this size now")

    def shutdown(self) -> None:
        """The server is stopping: answer what has begun, then end."""
        self._stopping = True
        self._arrivals.drop()
        self._go_on()

    # How it is done

    def _go_on(self) -> None:
        """Take up what may begin, and send what may be sent."""
        session = self.session
        if session.has_in_hand < self._weighs:
            self._weigh()
        if session.closed:
            return
        if self._arrivals:
            self._take_up()
        if self._unfinished or self._arrivals.begun_at or self._waits_for_room:
            self._count_unfinished()
        for turn in session.to_start():
            self._start(self._carry_out(turn))
        ready = session.ready_to_send
        if not session.in_flight or ready >= TOGETHER or session.bytes_to_send >= LARGE:
            self._send()
        elif ready and not self._to_send:
            # Others that were committed together are about to be answered, too: one write.
            self._to_send = True
            asyncio.get_running_loop().call_soon(self._send)
        self._mind_reading()
        if self._stopping and not session.in_flight and self._protocol.state is OPEN:
            self.close(RESTART, "the server restarts")

    def _take_up(self) -> None:
        """Hand on what has come, as far as may be carried out at a time."""
        session, arrivals = self.session, self._arrivals
        highest, packed = self._sockets.bounds.max_in_flight, len(arrivals.packed)
        while session.in_flight < highest and not self._stalled_since:
            first = arrivals.first(self._shared.now)
            if first is None:
                break
            message, binary = first
            if session.in_flight and session.has_in_hand + len(message) > at_most.MAX_IN_HAND:
                break
            if len(message) > at_most.LIGHT and not self._has_room():
                break
            arrivals.shift()
            self._sockets.counters.received += 1
            session.received(message, binary=binary)
        if session.has_in_hand - self._weighs > at_most.LIGHT:
            self._weigh()
        if len(arrivals.packed) != packed:
            self._write_protocol()

    def _has_room(self) -> bool:
        """Whether a large message may be read now; if not, this goes on when it may."""
        if self.session.is_being_introduced or not self._sockets.room.has_some_for(self):
            self._waits_for_room = self._waits_for_room or self._shared.now
            return False
        self._waits_for_room = 0.0
        return True

    def _weigh(self) -> None:
        """Say what the requests in hand take in memory by now; of a few small ones nobody does."""
        has = self.session.has_in_hand
        self._weighs, by = has, has - self._weighs
        self._sockets.room.change(by)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        self._shared.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._shared.tasks.discard(task)

    async def _carry_out(self, turn: Turn) -> None:
        try:
            reply = await self._sockets.service.perform(self.session, turn)
            self.session.finished(turn, reply)
            self._go_on()
        except Exception as error:
            logger.error("a WebSocket request failed unexpectedly", exc_info=error)
            self._shared.counters.crashes += 1
            if turn.reply is None:
                self.session.has_in_hand -= turn.size
            self.close(UNEXPECTED, "an unexpected error")

    def _send(self) -> None:
        self._to_send = False
        out = self.session.to_send()
        if not out or self._protocol.state is not OPEN or self.transport.is_closing():
            return
        counters, framing = self._sockets.counters, self._framing
        pieces: list[bytes] = []
        for one in out:
            if isinstance(one, Answer):
                counters.sent += 1
                pieces.append(framed(one.message, binary=one.binary, framing=framing))
            else:
                counters.pushed += len(one)
                self._add_pushes(one, pieces)
        self.transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def _add_pushes(self, pushes: Pushes | Notice, pieces: list[bytes]) -> None:
        """What all get alike was made with the first of them."""
        binary, framing = self.session.pushes_binary, self._framing
        if isinstance(pushes, Pushes):
            encode = _push_encoder(pushes.detailed, binary, framing)
            pieces += [item.encoded(encode, encode) for item in pushes.batch]
        else:
            message = in_encoding(pushes.text, binary=binary)
            pieces.append(framed(message, binary=binary, framing=framing))

    def _count_unfinished(self) -> None:
        arrivals = self._arrivals
        size = 0 if self._closing_since else arrivals.unfinished_bytes
        if self._waits_for_room and not self._closing_since:
            size += arrivals.waiting_bytes + len(arrivals.packed)
        self._unfinished = size > 0
        if size:
            self._sockets.begun(self, size)
        else:
            self._sockets.finished(self)

    def _mind_reading(self) -> None:
        """Read on, or let the client wait, as the work in hand demands."""
        reads = not (self._arrivals or self._stalled_since) or bool(self._closing_since)
        if reads is self._reading or self.transport.is_closing():
            return
        self._reading = reads
        if reads:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()

    def _write_protocol(self) -> None:
        """Write what the library has to say by itself: pongs, closes, the end."""
        for data in self._protocol.data_to_send():
            if data != _END:
                self.transport.write(data)
                continue
            self._begin_to_close()
            received = self._protocol.close_rcvd
            if received is not None:
                self.transport.close()  # both have said it
            elif self.transport.can_write_eof():
                # The client may still be sending: closing at once would take the reason away.
                self.transport.write_eof()
        failed = self._protocol.close_sent
        if self._said is None and failed is not None and self._protocol.close_rcvd is None:
            self._said = int(failed.code)

    def _begin_to_close(self) -> None:
        if not self._closing_since:
            self._closing_since = self._shared.now
            self._let_go()
            self.session.lost()
            self._weigh()
            self._mind_reading()

    def _let_go(self) -> None:
        """Nothing that has come, or comes, is taken up any more."""
        self._arrivals.let_go()
        self._waits_for_room = 0.0
        self._sockets.room.leave(self)
        self._sockets.finished(self)
        self._unfinished = False

    def _drain(self, count: int) -> None:
        self._drained += count
        if self._drained > at_most.MAX_DRAINED:
            self.transport.abort()


@lru_cache(maxsize=64)
def _push_encoder(detailed: bool, binary: bool, framing: int) -> Callable[[Announced], bytes]:
    """How a push becomes bytes for a kind of connection: the same function for all of a kind, so
    that it also names what it makes."""

    def encode(item: Announced) -> bytes:
        message = encode_push(item, detailed=detailed, binary=binary)
        return framed(message, binary=binary, framing=framing)

    return encode
