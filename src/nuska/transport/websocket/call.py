"""One request that is carried out: who asks, for which queue, with what, and for how long."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from nuska.core import Core
from nuska.core.ranges import check_range
from nuska.core.waiting import Patience
from nuska.interfaces.identity import Caller
from nuska.transport.websocket.frames import Frame
from nuska.transport.wire.messages import Shown

if TYPE_CHECKING:
    from nuska.transport.websocket.session import Session
    from nuska.transport.websocket.turns import Turn

LONGEST_ASKED = 2**31 - 1
"""Seconds of ``wait``, as on HTTP."""


class Turnstile:
    """One post of a connection at a time goes through; the next one may as soon as this one calls
    what it is given, or has ended."""

    __slots__ = ("_inside", "_lock")

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._inside = False

    async def __aenter__(self) -> Callable[[], None]:
        await self._lock.acquire()
        self._inside = True
        return self._leave

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._inside:
            self._inside = False
            self._lock.release()


class Call:
    __slots__ = ("body", "caller", "core", "frame", "queue", "session", "turn")

    def __init__(
        self,
        session: "Session",
        core: Core,
        turn: "Turn",
        frame: Frame,
        caller: Caller,
        queue: str,
    ) -> None:
        self.session = session
        self.core = core
        self.turn = turn
        self.frame = frame
        self.body = turn.body
        self.caller = caller
        self.queue = queue
        """Empty for an action that is about none."""

    def text(self, name: str) -> str | None:
        """A text that is not there may also be empty, as in a query."""
        return cast("str | None", self.body.get(name)) or None

    def named(self, name: str) -> str:
        """A text that the schema asks for."""
        return cast("str", self.body[name])

    def integer(self, name: str) -> int | None:
        return cast("int | None", self.body.get(name))

    def flag(self, name: str) -> bool:
        return self.body.get(name) is True

    def texts(self, name: str) -> list[str] | None:
        return cast("list[str] | None", self.body.get(name))

    @property
    def headers(self) -> dict[str, object]:
        """Those of the request; the names are case-sensitive."""
        return cast("dict[str, object]", self.frame.document["headers"])

    def header(self, name: str) -> str | None:
        value = self.headers.get(name)
        return value if isinstance(value, str) else None

    def shown(self, *, checksum: bool = False) -> Shown:
        """What this reader sees besides the fields that everybody sees."""
        return Shown(self.flag("attributes"), checksum and self.core.limits.enable_checksum)

    @contextmanager
    def patience(self) -> "Iterator[Patience | None]":
        """How long the client waits; it has left when its connection has."""
        asked = self.integer("wait") or 0
        seconds = check_range("wait", asked, 0, LONGEST_ASKED)
        if not seconds:
            yield None
            return
        patience = Patience(min(seconds, self.core.limits.max_wait))
        self.session.waits.add(patience)
        if self.session.closed:
            patience.leave()
        try:
            yield patience
        finally:
            self.session.waits.discard(patience)

    async def check_again(self) -> None:
        """Before the answer to a request that may have waited: raise what it would be refused
        with by now. What was taken for it stands in ``undo`` of its turn by then."""
        action = self.turn.action
        assert action is not None
        if not self.turn.waits:
            return
        standing = self.session.standing
        await standing.check_again(self.caller, action, self.headers, self.queue)

    @property
    def turnstile(self) -> "Turnstile":
        return Turnstile(self.session.turnstile)
