"""What was said of tokens, kept for a while, so that nobody is asked at every request.

Whoever has to ask — Keystone over the network, a store for its keys — asks through this. A token
is known here by a keyed hash alone: what is kept is of no use to anybody who reads the memory.

- A token that was accepted is believed without asking, and without waiting, until
  ``believed_for`` has passed or it expires; no longer, whatever happens. So this is the longest
  that a revoked token works.
- Used after ``recheck_after``, it is asked about again in the background.
- A refused one stays refused for ``refused_for`` without asking.
- Of those who bring the same token, one asks; a client that goes away takes nobody's answer along.
- A token by which a connection lasts is *watched*: what is known of it stays for as long as the
  connection does, however many others are remembered, and is asked about again in time.

It never takes silence for a yes: what is not known and cannot be asked is ``Unavailable``.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.domain.internal import can_be_callers
from nuska.domain.moments import Duration, Moment, after
from nuska.identity.watching import EXPIRED, PAUSE, Watched, Watching
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Verified
from nuska.interfaces.storage import RandomBytes

MAX_ASKING = 500
"""Tokens that are asked about at the same time; a further one is told to come again."""
MAX_REFUSED = 10_000
"""Refused tokens remembered, apart from the accepted ones, so that guesses crowd out nobody."""
NO_PROJECT = "The token's project has an id with control characters."
KEY_BYTES = 32
DIGEST_BYTES = 16

Ask = Callable[[str], Awaitable[Verified]]
"""Who a token belongs to. Raises ``NotAuthenticated`` or ``Unavailable``, within seconds."""

log = logging.getLogger("nuska.identity")


class Belief(Struct, frozen=True, kw_only=True):
    """For how long what was said is believed."""

    recheck_after: Duration
    believed_for: Duration
    refused_for: Duration
    max_kept: int
    """Accepted tokens; the one that was asked about longest ago makes room."""
    watched_recheck_after: Duration | None = None
    watched_for: Duration | None = None
    """The same for those that are watched; None: the same."""


class _Known:
    """An accepted token."""

    __slots__ = ("ends", "recheck_at", "verified")

    def __init__(self, verified: Verified, recheck_at: Moment, ends: Moment) -> None:
        self.verified = verified
        self.recheck_at = recheck_at
        self.ends = ends


class Remembered:
    """Implements ``TokenVerifier``, asking by ``ask``."""

    def __init__(self, ask: Ask, clock: Clock, belief: Belief, random_bytes: RandomBytes) -> None:
        self._ask = ask
        self._clock = clock
        self._belief = belief
        self._secret = random_bytes(KEY_BYTES)
        self._accepted: dict[bytes, _Known] = {}
        self._refused: dict[bytes, tuple[Moment, str]] = {}
        self._asking: dict[bytes, asyncio.Task[Verified]] = {}
        self._watching = Watching(
            clock,
            lambda key, token: self._asking.get(key) or self._start(key, token),
            recheck_after=belief.watched_recheck_after or belief.recheck_after,
            believed_for=belief.watched_for or belief.believed_for,
        )
        self._forgotten = 0
        """How often something was: an answer to a question from before then is not kept."""

    def cached(self, token: str) -> Verified | None:
        """Who it is, if that is known without asking."""
        key = self._key(token)
        known = self._accepted.get(key)
        if known is None:
            return None
        now = self._clock.now()
        if now >= known.ends:
            del self._accepted[key]
            return None
        if now >= known.recheck_at:
            self._recheck(key, token, known, now)
        return known.verified

    async def verify(self, token: str) -> Verified:
        """Who it is, asking if need be. Raises ``NotAuthenticated`` or ``Unavailable``."""
        key = self._key(token)
        refused = self._refused.get(key)
        if refused is not None:
            until, reason = refused
            if self._clock.now() < until:
                raise NotAuthenticated(description=reason)
            del self._refused[key]
        asking = self._asking.get(key)
        if asking is None:
            if len(self._asking) >= MAX_ASKING:
                raise Unavailable("Too many tokens are being checked at this moment.")
            asking = self._start(key, token)
        return await asyncio.shield(asking)

    def watch(self, token: str, verified: Verified) -> Watched:
        """A token that has just been accepted, for as long as somebody holds on to the answer."""
        return self._watching.watch(self._key(token), token, verified)

    def forget(self, is_meant: Callable[[Verified], bool]) -> None:
        """Believe those tokens no longer."""
        self._forgotten += 1
        for key in [key for key, known in self._accepted.items() if is_meant(known.verified)]:
            del self._accepted[key]
        self._watching.doubt(is_meant)

    def forget_all(self) -> None:
        """Ask about every token again."""
        self._forgotten += 1
        self._accepted.clear()
        self._refused.clear()
        self._watching.ask_all()

    async def close(self) -> None:
        self._watching.stop()
        asking = tuple(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)

    def _key(self, token: str) -> bytes:
        return hashlib.blake2b(
            token.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=DIGEST_BYTES
        ).digest()

    def _recheck(self, key: bytes, token: str, known: _Known, now: Moment) -> None:
        known.recheck_at = after(now, PAUSE)
        if key not in self._asking and len(self._asking) < MAX_ASKING:
            self._start(key, token)

    def _start(self, key: bytes, token: str) -> asyncio.Task[Verified]:
        asking = asyncio.create_task(self._ask_and_keep(key, token), name="token")
        self._asking[key] = asking
        asking.add_done_callback(lambda task: self._asked(key, task))
        return asking

    def _asked(self, key: bytes, task: asyncio.Task[Verified]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # whoever waited for it was told; perhaps nobody did

    async def _ask_and_keep(self, key: bytes, token: str) -> Verified:
        began, forgotten = self._clock.now(), self._forgotten
        try:
            verified = await self._ask(token)
            if verified.project is not None and not can_be_callers(verified.project):
                raise NotAuthenticated(description=NO_PROJECT)
        except NotAuthenticated as error:
            if forgotten == self._forgotten:
                self._refuse(key, error.description)
            raise
        except Unavailable:
            raise
        except Exception as error:
            log.exception("a token could not be checked")
            raise Unavailable("The token could not be checked.") from error
        if verified.expires_at is not None and verified.expires_at <= self._clock.now():
            raise NotAuthenticated(description=EXPIRED)
        if forgotten == self._forgotten:
            self._keep(key, self._believed(verified, began))
            self._watching.accepted(key, verified, began)
        return verified

    def _refuse(self, key: bytes, reason: str) -> None:
        self._accepted.pop(key, None)
        if len(self._refused) >= MAX_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = after(self._clock.now(), self._belief.refused_for), reason
        self._watching.refused(key, reason)

    def _believed(self, verified: Verified, began: Moment) -> _Known:
        """What was said to a question from this moment."""
        ends = after(began, self._belief.believed_for)
        if verified.expires_at is not None:
            ends = min(ends, verified.expires_at)
        return _Known(verified, min(after(began, self._belief.recheck_after), ends), ends)

    def _keep(self, key: bytes, known: _Known) -> None:
        self._accepted.pop(key, None)  # to stand at the end
        if len(self._accepted) >= self._belief.max_kept:
            del self._accepted[next(iter(self._accepted))]
        self._accepted[key] = known
