"""Which followed queue has its turn: those with something to do, a few at a time.

There is no task per queue. A queue is woken by messages, at a moment that it has named, or because
it was not through. One that could not go on rests, longer each time, and goes on by itself. One
that messages alone wake waits a moment after its last turn, so that a stream of single posts is
read by the handful.
"""

import asyncio
import heapq
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count

from msgspec import Struct

from nuska.delivery.counters import DeliveryCounters
from nuska.delivery.follower import Follower
from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import RandomBytes

TURNS_AT_ONCE = 8
PAUSE = 0.005
"""Seconds between the end of a turn and the next for whom nothing but messages has woken."""
FIRST_REST = 0.25
LONGEST_REST = 5.0
"""Seconds a queue rests that could not go on."""
UNEXPECTED = "An internal error."

Start = Callable[[Callable[[], Awaitable[None]], str], None]
"""Runs work in a task of its own."""

logger = logging.getLogger("nuska.delivery")


class Rest(Struct):
    """How long somebody rests who could not go on."""

    until: float
    seconds: float


class Turns:
    def __init__(
        self,
        clock: Clock,
        random_bytes: RandomBytes,
        counters: DeliveryCounters,
        take: Callable[[Follower], Awaitable[bool]],
        start: Start,
        stir: Callable[[], None],
    ) -> None:
        """``take``: a queue's turn; whether there is more to do. ``stir``: has ``begin`` called."""
        self._clock = clock
        self._random_bytes = random_bytes
        self._counters = counters
        self._take = take
        self._start = start
        self._stir = stir
        self._woken: OrderedDict[Follower, None] = OrderedDict()
        self._busy: set[Follower] = set()
        self._again: dict[Follower, bool] = {}
        """Woken during their turns; whether by more than messages."""
        self._rests: dict[Follower, Rest] = {}
        self._later: list[tuple[float, int, Follower]] = []
        self._until: dict[Follower, float] = {}
        """Who is woken later, in seconds of the loop."""
        self._alarms: list[tuple[Moment, int, Follower]] = []
        self._alarmed: dict[Follower, Moment] = {}
        self._numbers = count()

    def wake(self, follower: Follower, *, by_messages: bool = False) -> None:
        """There is, perhaps, something to do."""
        if follower.ended or follower in self._woken:
            return
        if follower in self._busy:
            self._again[follower] = self._again.get(follower, False) or not by_messages
            return
        rest = self._rests.get(follower)
        until = follower.paused_until if by_messages else 0.0
        if rest is not None:
            until = max(until, rest.until)
        if until > asyncio.get_running_loop().time():
            self._wake_later(follower, until)
        else:
            self._woken[follower] = None
            self._stir()

    def wake_at(self, follower: Follower, moment: Moment) -> None:
        known = self._alarmed.get(follower)
        if known is None or moment < known:
            self._alarmed[follower] = moment
            heapq.heappush(self._alarms, (moment, next(self._numbers), follower))

    def begin(self) -> None:
        """Wake whose time has come, and let as many have their turn as may at once."""
        now, loop_now = self._clock.now(), asyncio.get_running_loop().time()
        while self._alarms and self._alarms[0][0] <= now:
            moment, _, follower = heapq.heappop(self._alarms)
            if self._alarmed.get(follower) == moment:
                del self._alarmed[follower]
                self.wake(follower)
        while self._later and self._later[0][0] <= loop_now:
            until, _, follower = heapq.heappop(self._later)
            if self._until.get(follower) == until:
                del self._until[follower]
                self.wake(follower)
        while self._woken and len(self._busy) < TURNS_AT_ONCE:
            follower, _ = self._woken.popitem(last=False)
            self._busy.add(follower)
            self._start(partial(self._turn, follower), "a followed queue's turn")

    def drop(self, follower: Follower) -> None:
        """It has no turn any more."""
        for group in (self._woken, self._rests, self._alarmed, self._until, self._again):
            group.pop(follower, None)

    def rest(self, follower: Follower, reason: str) -> None:
        """It cannot go on now."""
        self._counters.failures += 1
        rest = self._rests.get(follower)
        seconds = FIRST_REST if rest is None else min(2 * rest.seconds, LONGEST_REST)
        jitter = 0.5 + int.from_bytes(self._random_bytes(1)) / 512
        until = asyncio.get_running_loop().time() + seconds * jitter
        self._rests[follower] = Rest(until, seconds)
        if rest is None:
            logger.warning("deliveries cannot go on now", extra={"reason": reason})

    def is_rested(self, follower: Follower) -> bool:
        rest = self._rests.get(follower)
        return rest is None or asyncio.get_running_loop().time() >= rest.until

    def until_next(self, most: float) -> float:
        """Seconds until somebody is to be woken, if fewer than ``most``."""
        if self._alarms:
            most = min(most, (self._alarms[0][0] - self._clock.now()) / 1000)
        if self._later:
            most = min(most, self._later[0][0] - asyncio.get_running_loop().time())
        return max(0.0, most)

    @property
    def has_pauses(self) -> bool:
        """Whether somebody has something to do who only waits a moment."""
        return any(follower not in self._rests for follower in self._until)

    def _wake_later(self, follower: Follower, until: float) -> None:
        known = self._until.get(follower)
        if known is None or until < known:
            self._until[follower] = until
            heapq.heappush(self._later, (until, next(self._numbers), follower))
            self._stir()

    async def _turn(self, follower: Follower) -> None:
        more = True
        try:
            more = await self._take(follower)
            self._rests.pop(follower, None)
        except Unavailable as error:
            self.rest(follower, error.description)
        except Exception as error:
            logger.error("a followed queue's turn failed unexpectedly", exc_info=error)
            self.rest(follower, UNEXPECTED)
        finally:
            self._busy.discard(follower)
            follower.paused_until = asyncio.get_running_loop().time() + PAUSE
            again = self._again.pop(follower, None)
            if more or again is not None:
                self.wake(follower, by_messages=not (more or again))
            self._stir()
