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
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Protocol, TypeAlias

from msgspec import Struct

from nuska.core import Core
from nuska.core.connected import Connected
from nuska.core.waiting import Patience
from nuska.domain.errors import Conflict, InvalidInput, NotAuthenticated, Unavailable
from nuska.domain.internal import owner_of
from nuska.domain.moments import Moment
from nuska.transport.websocket.actions.table import ACTIONS
from nuska.transport.websocket.frames import refused
from nuska.transport.websocket.letterheads import letterhead
from nuska.transport.websocket.listener import Listener
from nuska.transport.websocket.pushes import Notice, Pushes
from nuska.transport.websocket.standing import NOT_AUTHENTICATED, Standing
from nuska.transport.websocket.turns import Turn, turn_of, unread

MAX_OF_STRANGERS = 32_768
"""Bytes of a message of those who have not shown who they are; as many as a request's head over
HTTP may have. ``authenticate`` is smaller by far."""
STRANGER = refused(
    HTTPStatus.FORBIDDEN,
    NOT_AUTHENTICATED,
    f"A message without a signature may have at most {MAX_OF_STRANGERS} bytes before it is shown "
    "who sends it: authenticate first.",
).reply
MAX_HELD = 256
"""Pushes that wait for replies to go first; then those who push are told to wait."""
SUBSCRIBE = "subscription:create"
"""The permission by which a connection is told of messages, for as long as it is."""
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


Sending: TypeAlias = Answer | Pushes | Notice


class Session:
    def __init__(
        self, outlet: Outlet, core: Core, name: str, standing: Standing, max_queues: int
    ) -> None:
        """``name``: an opaque word for this connection, for people who look at subscriptions.
        ``max_queues``: how many it may be subscribed to."""
        self.outlet = outlet
        self._core = core
        self._max_queues = max_queues
        self.name = name
        self.standing = standing
        self.projects: dict[str, None] = {}
        """For whose limits the connection counts, in the order in which it spoke for them."""
        self.turnstile = asyncio.Lock()
        self.waits: set[Patience] = set()
        """Of requests that wait for messages now."""
        self.closed = False
        self.pushes_binary = False
        """Pushes have the encoding of the subscription that was made last."""
        self.listeners: dict[str, Listener] = {}
        """By the ids of their subscriptions."""
        self._queues: set[tuple[str, str]] = set()
        """Project and name of those that it is subscribed to, or about to be."""
        self._stalled = False
        self._ends_at: Moment | None = None
        """When the first of the subscriptions ends."""
        self.in_flight = 0
        """Requests received and not yet answered."""
        self.has_in_hand = 0
        """Bytes that they take in memory, about."""
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
        self._out_bytes = 0
        """Of the replies among them."""
        self._held: list[Sending] = []
        self._held_until: Turn | None = None

    @property
    def is_subscribed(self) -> bool:
        return bool(self.listeners)

    def is_subscribed_in(self, project: str) -> bool:
        return any(owner_of(place) == project for place, _ in self._queues)

    @property
    def is_known(self) -> bool:
        """Whether somebody has shown on it who he is, if that is asked for at all."""
        return bool(self.projects) or self.standing.is_known

    @property
    def is_being_introduced(self) -> bool:
        """Whether somebody is about to show who he is on it, for the first time."""
        return self._settling > 0 and not self.is_known

    @property
    def speaks_for(self) -> str | None:
        """The project whose a message without a word about that is, as far as that is known."""
        verified = self.standing.verified
        if verified is not None:
            return verified.project
        return next(reversed(self.projects), None)

    @property
    def has_an_end(self) -> bool:
        """Whether something of this connection is over one day: then ``tick`` is to be called."""
        return self._ends_at is not None or self.standing.ends_at is not None

    # In

    def received(self, data: bytes, *, binary: bool) -> None:
        """A whole message has come."""
        if len(data) > MAX_OF_STRANGERS and not self.is_known:
            turn = self._turn_of_stranger(data, binary=binary)
        else:
            turn = turn_of(data, binary=binary)
        self.in_flight += 1
        self.has_in_hand += turn.size
        self._settling += turn.settles_who
        if not turn.ordered:
            self._aside.append(turn)
            return
        self._line.append(turn)
        self._owed.append(turn)
        self._patient += turn.waits

    def _turn_of_stranger(self, data: bytes, *, binary: bool) -> Turn:
        """Only who shows a signature with it may send so much."""
        head = letterhead(data, binary=binary)
        action = None if head is None else ACTIONS.get(head.action)
        if head is None or action is None:
            return unread(head, binary=binary, refusal=STRANGER)
        if not self.standing.is_signed(action, head.headers, head.queue):
            return unread(head, binary=binary, refusal=STRANGER)
        return turn_of(data, binary=binary)

    def finished(self, turn: Turn, reply: bytes) -> None:
        """A turn that was started has been carried out."""
        self.in_flight -= 1
        self.has_in_hand -= turn.size
        self._settling -= turn.settles_who
        turn.reply = reply
        if turn.ordered:
            self._answer_in_order(turn)
        else:
            self._answer(reply, binary=turn.binary)
        if turn.afterwards is not None:
            turn.afterwards()

    def _answer_in_order(self, turn: Turn) -> None:
        self._running -= 1
        self._running_joined -= turn.joins
        owed = self._owed
        while owed and owed[0].reply is not None:
            done = owed.popleft()
            assert done.reply is not None
            self._patient -= done.waits
            self._answer(done.reply, binary=done.binary)
            if done is self._held_until:
                self._release()

    def _answer(self, reply: bytes, *, binary: bool) -> None:
        self._out.append(Answer(reply, binary))
        self._out_bytes += len(reply)

    def tick(self) -> None:
        """End what is over, as far as anybody knows what time it is."""
        try:
            now = self._core.clock.now()
        except Unavailable:  # the time is the store's, and not known now
            return
        ends_at = self.standing.ends_at
        if ends_at is not None and ends_at <= now and not self._still_stands(now):
            self.outlet.close(EXPIRED, "Authentication expired.")
        elif self._ends_at is not None and self._ends_at <= now:
            self._end_those(lambda connected: connected.subscriptions[0].expires_at <= now)

    def _still_stands(self, now: Moment) -> bool:
        """Go by what is known by now of who speaks; False when that is nobody any more."""
        standing = self.standing
        before, doubted = standing.verified, standing.in_doubt
        try:
            standing.look(now)
        except NotAuthenticated:
            return False
        if standing.verified != before:
            self._end_those(self._is_beyond_right)
        if standing.in_doubt:
            self._hold()
        elif doubted:
            self._begin_all()
        return True

    def _is_beyond_right(self, connected: Connected) -> bool:
        return not all(
            self.standing.may_go_on(SUBSCRIBE, found.queue) for found in connected.subscriptions
        )

    def _end_those(self, is_over: Callable[[Connected], bool]) -> None:
        for listener in list(self.listeners.values()):
            connected = listener.connected
            if connected is not None and is_over(connected):
                self._core.connected.remove(connected)
                self.forget(connected.id)

    def lost(self) -> None:
        """The connection is closed, or about to be: nobody waits on it any more."""
        self.closed = True
        self.has_in_hand -= sum(turn.size for turn in (*self._line, *self._aside))
        self._line.clear()
        self._aside.clear()
        self._owed.clear()
        self._out.clear()
        self._out_bytes = 0
        self._held.clear()
        for patience in tuple(self.waits):
            patience.leave()
        for listener in self.listeners.values():
            if listener.connected is not None:
                self._core.connected.remove(listener.connected)
        self.listeners.clear()

    # Subscriptions

    def reserve(self, project: str, names: Sequence[str]) -> None:
        """Before a subscription is made: one queue has one at most. Raises ``Conflict``."""
        wanted = {(project, name) for name in names}
        if wanted & self._queues:
            raise Conflict("This connection is subscribed to that queue already.")
        if len(self._queues) + len(wanted) > self._max_queues:
            raise InvalidInput(
                f"A connection may be subscribed to {self._max_queues} queues at most."
            )
        self._queues |= wanted

    def unreserve(self, project: str, names: Sequence[str]) -> None:
        self._queues -= {(project, name) for name in names}

    def subscribed(self, listener: Listener, *, binary: bool) -> None:
        """A subscription was made; its listening begins when the reply is on its way."""
        connected = listener.connected
        assert connected is not None
        if self.closed:
            self._core.connected.remove(connected)
            return
        self.pushes_binary = binary
        self.listeners[connected.id] = listener
        self._find_end()

    def begin(self, listener: Listener) -> None:
        has_room = not self._stalled and len(self._held) < MAX_HELD
        if has_room and not self.standing.in_doubt and listener.connected is not None:
            listener.connected.listening.go_on()

    def forget(self, id_: str) -> None:
        """A subscription has ended."""
        listener = self.listeners.pop(id_, None)
        if listener is None or listener.connected is None:
            return
        queues = [found.queue for found in listener.connected.subscriptions]
        for queue in queues:
            self.unreserve(queue.project, [queue.name])
        self._find_end()
        listener.say_that_it_ended()

    def end_subscriptions(self) -> None:
        """All of them; the client is told."""
        self._end_those(lambda _: True)

    def _find_end(self) -> None:
        ends = [
            found.connected.subscriptions[0].expires_at
            for found in self.listeners.values()
            if found.connected is not None
        ]
        self._ends_at = min(ends, default=None)

    def push(self, pushes: Pushes | Notice) -> None:
        """Something for a subscriber, to be sent now or after the replies that are owed."""
        if self.closed:
            return
        if self._owed and not self._patient and self._held_until is None:
            self._held_until = self._owed[-1]
        if self._held_until is None:
            self._out.append(pushes)
            self.outlet.flush()
            return
        self._held.append(pushes)
        if len(self._held) == MAX_HELD:
            self._hold()

    def hold(self) -> None:
        """The connection has no room for more pushes now."""
        self._stalled = True
        self._hold()

    def _hold(self) -> None:
        for listener in self.listeners.values():
            if listener.connected is not None:
                listener.connected.listening.hold()

    def go_on(self) -> None:
        """The connection has room again."""
        self._stalled = False
        self._begin_all()

    def _begin_all(self) -> None:
        for listener in tuple(self.listeners.values()):
            self.begin(listener)

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

    @property
    def ready_to_send(self) -> int:
        """How many there are for ``to_send``."""
        return len(self._out)

    @property
    def bytes_to_send(self) -> int:
        """How large the replies among them are."""
        return self._out_bytes

    def to_send(self) -> list[Sending]:
        """What is to be sent, in this order."""
        out, self._out, self._out_bytes = self._out, [], 0
        return out

    def has_gone(self) -> bool:
        """Whether the connection is known to be closed. Ask last: nothing may be awaited
        between a "no" and handing the reply to the connection."""
        return self.closed or self.outlet.has_gone()

    def _may_start(self, turn: Turn) -> bool:
        return not self._running or (turn.joins and self._running == self._running_joined)

    def _release(self) -> None:
        self._held_until = None
        was_full = len(self._held) >= MAX_HELD
        self._out += self._held
        self._held.clear()
        if was_full:
            self._begin_all()
