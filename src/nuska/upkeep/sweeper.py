"""Clears away what is over, step by step, for as long as the service runs.

Requests never wait for it: expiry is a filter first (D7), and a step is small. When there is
more to do it goes on at once, but rests in proportion to what the last step took, so that a
backlog of a million leaves most of the time to requests.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from nuska.domain.errors import Unavailable
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import Store
from nuska.interfaces.wakeups import Wakeups

IDLE_PAUSE = 0.25
"""Seconds between looks when there is nothing to do. I5 allows a second."""
REST_PER_WORK = 2.5
"""Seconds of rest per second of sweeping while there is more: a duty of at most 30 %."""
SHORTEST_REST = 0.001
FIRST_RETRY = 0.5
LONGEST_RETRY = 30.0
WOKEN_PER_QUEUE = 100
"""Waiters told that messages of their queue became available; who finds none waits on."""

logger = logging.getLogger("nuska.upkeep")


class Sweeper:
    """Sweeps one store until told to stop; a step that has begun is always finished."""

    def __init__(
        self,
        store: Store,
        wakeups: Wakeups,
        clock: Clock,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        """``is_ours`` is asked before every step: whether it is for this process to do."""
        self._store = store
        self._wakeups = wakeups
        self._clock = clock
        self._is_ours = is_ours
        self._stopping = asyncio.Event()
        self.steps = 0
        self.removed = 0
        self.failures = 0

    def stop(self) -> None:
        """``run`` returns after the step it is at."""
        self._stopping.set()

    async def run(self) -> None:
        retry = FIRST_RETRY
        while not self._stopping.is_set():
            try:
                pause = await self._step()
                retry = FIRST_RETRY
            except Unavailable as error:
                self.failures += 1
                logger.warning(
                    "cannot clear away expired messages now", extra={"reason": error.description}
                )
                pause, retry = retry, min(2 * retry, LONGEST_RETRY)
            except Exception as error:
                self.failures += 1
                logger.error("a sweep failed unexpectedly", exc_info=error)
                pause, retry = retry, min(2 * retry, LONGEST_RETRY)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _step(self) -> float:
        """Do one step; how long to pause after it."""
        if not self._is_ours():
            return IDLE_PAUSE
        loop = asyncio.get_running_loop()
        began = loop.time()
        report = await self._store.sweep(now=self._clock.now())
        self.steps += 1
        self.removed += report.removed
        for queue in report.due:
            self._wakeups.wake(queue, WOKEN_PER_QUEUE)
        if not report.more:
            return IDLE_PAUSE
        return max(SHORTEST_REST, REST_PER_WORK * (loop.time() - began))
