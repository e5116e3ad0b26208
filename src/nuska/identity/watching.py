"""Tokens by which connections last: what is known of one stays for as long as somebody holds on to
it, and is asked about again in time.

The questions queue up: a few are asked at a time, so that whoever waits for an answer of his own
is not kept waiting by them, and none of them is forgotten. Decides nothing about a token.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from weakref import ReferenceType, WeakValueDictionary, ref

from nuska.domain.errors import NotAuthenticated
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Verified

AT_A_TIME = 16
"""Questions about watched tokens."""
PAUSE = seconds(5)
"""After a question in the background that was not answered."""
EXPIRED = "The token has expired."

Start = Callable[[bytes, str], "asyncio.Task[Verified]"]
"""Ask about a token that is known by this key; whatever is said is told to ``Watching``."""


class Watched:
    """Implements ``Watch``: one token, for all that last by it."""

    __slots__ = (
        "__weakref__",
        "_owner",
        "ends",
        "is_due",
        "key",
        "recheck_at",
        "refusal",
        "token",
        "verified",
    )

    def __init__(self, owner: "Watching", key: bytes, token: str, verified: Verified) -> None:
        self._owner = owner
        self.key = key
        self.token = token
        self.verified = verified
        self.recheck_at = self.ends = Moment(0)
        self.is_due = False
        """It stands in the queue."""
        self.refusal: str | None = None
        """Why it is not good any more."""

    def look(self) -> Verified | None:
        return self._owner.look(self)

    def __repr__(self) -> str:
        return "Watched(…)"


class Watching:
    """The watched tokens of one kind."""

    def __init__(
        self, clock: Clock, start: Start, *, recheck_after: Duration, believed_for: Duration
    ) -> None:
        self._clock = clock
        self._start = start
        self._recheck_after = recheck_after
        self._believed_for = believed_for
        self._watched: WeakValueDictionary[bytes, Watched] = WeakValueDictionary()
        self._due: deque[ReferenceType[Watched]] = deque()
        self._asking = 0
        self._stopped = False

    def __len__(self) -> int:
        return len(self._watched)

    def watch(self, key: bytes, token: str, verified: Verified) -> Watched:
        """A token that has just been accepted as ``verified``."""
        watched = self._watched.get(key)
        if watched is None or watched.refusal is not None:
            watched = self._watched[key] = Watched(self, key, token, verified)
            self._believe(watched, verified, self._clock.now())
        return watched

    def look(self, watched: Watched) -> Verified | None:
        """What is known of it: see ``Watch``."""
        if watched.refusal is not None:
            raise NotAuthenticated(description=watched.refusal)
        verified, now = watched.verified, self._clock.now()
        if verified.expires_at is not None and verified.expires_at <= now:
            raise NotAuthenticated(description=EXPIRED)
        if now >= watched.recheck_at and not watched.is_due:
            watched.is_due = True
            self._due.append(ref(watched))
            self._ask_next()
        return verified if now < watched.ends else None

    def accepted(self, key: bytes, verified: Verified, began: Moment) -> None:
        """It was said to a question from this moment."""
        watched = self._watched.get(key)
        if watched is not None:
            watched.refusal = None
            self._believe(watched, verified, began)

    def refused(self, key: bytes, reason: str) -> None:
        watched = self._watched.get(key)
        if watched is not None:
            watched.refusal = reason

    def doubt(self, is_meant: Callable[[Verified], bool]) -> None:
        """Believe those no longer."""
        now = self._clock.now()
        for watched in self._watched.values():
            if is_meant(watched.verified):
                watched.recheck_at = watched.ends = now

    def ask_all(self) -> None:
        """Ask about every one again; they are believed until then, since nobody has said that
        any of them is bad."""
        now = self._clock.now()
        for watched in self._watched.values():
            watched.recheck_at = now

    def stop(self) -> None:
        self._stopped = True

    def _believe(self, watched: Watched, verified: Verified, began: Moment) -> None:
        watched.verified = verified
        watched.recheck_at = after(began, self._recheck_after)
        watched.ends = after(began, self._believed_for)

    def _ask_next(self) -> None:
        while self._due and self._asking < AT_A_TIME and not self._stopped:
            watched = self._due.popleft()()
            if watched is None:
                continue
            watched.is_due = False
            watched.recheck_at = after(self._clock.now(), PAUSE)
            self._asking += 1
            self._start(watched.key, watched.token).add_done_callback(self._asked)

    def _asked(self, _: "asyncio.Task[Verified]") -> None:
        self._asking -= 1
        self._ask_next()
