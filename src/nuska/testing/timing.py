"""A client's sleep, clock and dice that a test moves by hand; nothing really waits."""

import asyncio
import heapq
import random
from itertools import count

from nuska.client import Timing


class ManualTiming:
    """Pass ``timing`` to a client. Sleepers wake when ``advance`` passes their moment.

    With ``hurry`` nobody has to advance: time jumps to the end of each sleep at once.
    """

    def __init__(self, *, hurry: bool = False, seed: int = 0) -> None:
        self.timing = Timing(sleep=self._sleep, clock=lambda: self.now, dice=random.Random(seed))
        self.now = 0.0
        self.slept: list[float] = []
        """Every sleep that was asked for, in seconds."""
        self._hurry = hurry
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._changed = asyncio.Condition()

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, waking each sleeper at its own moment."""
        end = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, sleeper = heapq.heappop(self._sleepers)
            self.now = due
            if not sleeper.done():
                sleeper.set_result(None)
        self.now = end

    async def someone_sleeps(self) -> None:
        """Return once somebody waits for time to pass."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: any(not sleeper.done() for _, _, sleeper in self._sleepers)
            )

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if self._hurry:
            self.now += seconds
            await asyncio.sleep(0)
            return
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), sleeper))
        async with self._changed:
            self._changed.notify_all()
        await sleeper
