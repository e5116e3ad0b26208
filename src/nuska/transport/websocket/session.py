"""The conversation on one connection: a state machine without I/O.

What comes in is told to ``received`` and ``finished``; what is to be done and to be sent is
fetched from ``to_start`` and ``to_send``. Whoever drives it carries turns out and writes.

Requests are carried out one after the other and answered in their order, because that is what
their senders rely on; posts that follow each other are carried out together, so that one commit
of the store is enough for them. Requests with an id of their own go side by side, and are
answered as they end. Pushes wait until the replies owed at that moment have gone: old clients
take the next message for the reply (contract websocket-v2 §6). They do not wait for a request
that itself waits for messages.
"""

import asyncio
from collections import deque
from typing import Protocol, TypeAlias

from msgspec import Struct

from nuska.core.waiting import Patience
from nuska.domain.moments import Moment
from nuska.transport.websocket.actions.rows import Action, unknown
from nuska.transport.websocket.actions.table import ACTIONS
from nuska.transport.websocket.frames import Frame, Refused, Reply, read
from nuska.transport.websocket.standing import Standing

EXPIRED = 4003
"""The close code for authentication that is over."""


class Outlet(Protocol):
    """The connection, as the session knows it."""

    def flush(self) -> None:
        """There is something to start or to send that no call has led to."""
        ...

    def close(self, code: int, reason: str) -> None: ...

    def has_gone(self) -> bool:
        """Whether the connection is closed at this very moment."""
        ...


class Answer(Struct, frozen=True, gc=False):
    """A reply that may be sent now."""

    message: bytes
    binary: bool


Sending: TypeAlias = Answer


class Turn:
    """One request, from its message to its reply."""

    __slots__ = ("action", "binary", "body", "frame", "ordered", "refusal", "reply", "waits")

    def __init__(self, binary: bool) -> None:
        self.binary = binary
        self.frame: Frame | None = None
        """None: it was no document."""
        self.action: Action | None = None
        self.body: dict[str, object] = {}
        self.refusal: Reply | None = None
        """What is answered without carrying anything out."""
        self.ordered = True
        self.waits = False
        self.reply: bytes | None = None

    @property
    def joins(self) -> bool:
        return self.refusal is not None or (self.action is not None and self.action.joins)

    @property
    def settles_who(self) -> bool:
        """Who asks is another one after it."""
        return self.refusal is None and self.action is not None and self.action.settles_who


class Session:
    def __init__(self, outlet: Outlet, name: str, standing: Standing) -> None:
        """``name``: an opaque word for this connection, for people who look at subscriptions."""
        self.outlet = outlet
        self.name = name
        self.standing = standing
        self.turnstile = asyncio.Lock()
        self.waits: set[Patience] = set()
        """Of requests that wait for messages now."""
        self.closed = False
        self.in_flight = 0
        """Requests received and not yet answered."""
        self._line: deque[Turn] = deque()
        """Turns that begin one after the other."""
        self._aside: list[Turn] = []
        """Turns that may begin as soon as it is clear who asks."""
        self._owed: deque[Turn] = deque()
        """Whose replies go out in this order."""
        self._running = self._running_joined = 0
        self._settling = 0
        self._patient = 0
        """Turns owed that wait for messages."""
        self._out: list[Sending] = []
        self._held: list[Sending] = []
        self._held_until: Turn | None = None

    @property
    def is_subscribed(self) -> bool:
        return False

    @property
    def ends_at(self) -> Moment | None:
        """When something of this connection is over: see ``tick``."""
        return self.standing.ends_at

    # In

    def received(self, data: bytes, *, binary: bool) -> None:
        """A whole message has come."""
        turn = _read(data, binary=binary)
        self.in_flight += 1
        self._settling += turn.settles_who
        if not turn.ordered:
            self._aside.append(turn)
            return
        self._line.append(turn)
        self._owed.append(turn)
        self._patient += turn.waits

    def finished(self, turn: Turn, reply: bytes) -> None:
        """A turn that was started has been carried out."""
        self.in_flight -= 1
        self._settling -= turn.settles_who
        turn.reply = reply
        if not turn.ordered:
            self._out.append(Answer(reply, turn.binary))
            return
        self._running -= 1
        self._running_joined -= turn.joins
        owed = self._owed
        while owed and owed[0].reply is not None:
            done = owed.popleft()
            assert done.reply is not None
            self._patient -= done.waits
            self._out.append(Answer(done.reply, done.binary))
            if done is self._held_until:
                self._release()

    def tick(self, now: Moment) -> None:
        """It is ``now``: end what is over."""
        ends_at = self.standing.ends_at
        if ends_at is not None and ends_at <= now:
            self.outlet.close(EXPIRED, "Authentication expired.")

    def lost(self) -> None:
        """The connection is closed, or about to be: nobody waits on it any more."""
        self.closed = True
        self._line.clear()
        self._aside.clear()
        self._out.clear()
        self._held.clear()
        for patience in tuple(self.waits):
            patience.leave()

    # Out

    def to_start(self) -> list[Turn]:
        """The turns that are to be carried out from now on."""
        started: list[Turn] = []
        line = self._line
        while line and self._may_start(line[0]):
            turn = line.popleft()
            self._running += 1
            self._running_joined += turn.joins
            started.append(turn)
        if self._aside and not self._settling:
            started += self._aside
            self._aside.clear()
        return started

    def to_send(self) -> list[Sending]:
        """What is to be sent, in this order."""
        out, self._out = self._out, []
        return out

    def has_gone(self) -> bool:
        return self.closed or self.outlet.has_gone()

    def _may_start(self, turn: Turn) -> bool:
        return not self._running or (turn.joins and self._running == self._running_joined)

    def _release(self) -> None:
        self._held_until = None
        self._out += self._held
        self._held.clear()


def _read(data: bytes, *, binary: bool) -> Turn:
    turn = Turn(binary)
    try:
        turn.frame = frame = read(data, binary=binary)
        name = frame.document.get("action")
        action = ACTIONS.get(name) if isinstance(name, str) else None
        turn.ordered = frame.id is None or (action is not None and action.settles_who)
        if action is None:
            raise unknown(name)
        turn.action = action
        turn.body = action.check(frame)
        turn.waits = bool(turn.body.get("wait"))
    except Refused as refused:
        turn.refusal = refused.reply
    return turn
