"""The time of a shared store's server, as every node of the store sees it (D4).

Leases must not depend on which node looks, so a node's own clock counts only what has
passed since it last asked the server. What was learnt too long ago is not used: a node that
was suspended, or cannot reach the server, does not guess.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Duration, Moment
from nuska.interfaces.clock import Clock

GOOD_FOR = Duration(30_000)
"""How long an answer is used."""
ASK_EVERY = 10.0
"""Seconds; at once when the time is wanted and what is known is too old."""
ASK_AGAIN_AFTER = 0.25
"""Seconds, at least, between two attempts."""
TRIES = 3
"""The answer that came quickest says most."""

AskTime = Callable[[], Awaitable[Moment]]


class ServerClock:
    """A ``Clock`` on the server's time; ``local`` need not agree with anybody's.

    ``local`` must count the time a suspended machine slept.
    """

    def __init__(self, local: Clock, ask: AskTime) -> None:
        self._local = local
        self._ask = ask
        self._offset = 0
        self._good_until: Moment | None = None
        self._last = Moment(0)
        self._wanted = asyncio.Event()
        """Somebody asked for the time, and it is not known."""

    def now(self) -> Moment:
        here = self._local.now()
        if self._good_until is None or here > self._good_until:
            self._wanted.set()
            raise Unavailable("The time of the store is not known at the moment.")
        self._last = Moment(max(self._last, here + self._offset))
        return self._last

    async def measure(self) -> None:
        """Ask the server; raises ``Unavailable`` and changes nothing when it does not answer."""
        best: tuple[int, int, Moment] | None = None
        for _ in range(TRIES):
            before = self._local.now()
            there = await self._ask()
            after = self._local.now()
            took = after - before
            if best is None or took < best[0]:
                best = (took, there - (before + took // 2), after)
        assert best is not None, "it was asked at least once"
        self._offset = best[1]
        self._good_until = Moment(best[2] + GOOD_FOR)

    async def run(self) -> None:
        """Measure again and again, until cancelled."""
        while True:
            with suppress(Unavailable):  # the last answer is used for as long as it is good
                await self.measure()
            await asyncio.sleep(ASK_AGAIN_AFTER)
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(ASK_EVERY):
                    await self._wanted.wait()
