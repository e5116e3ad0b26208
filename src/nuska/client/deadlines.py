"""The end of waiting, for many calls that all have the same time: one timer instead of many.

Ends what waits, with an error; what waits, and for what, is its users' to know.
"""

import asyncio
from collections import deque
from typing import Any

from nuska.client.errors import DeadlinePassed


class Deadlines:
    """One timer for all calls that wait: each has as long as the others, so the oldest is first."""

    def __init__(self, timeout: float, passed: str) -> None:
        """``passed``: what is said to whom nobody answers for ``timeout`` seconds."""
        self._timeout = timeout
        self._passed = passed
        self._loop = asyncio.get_running_loop()
        self._due: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, answer: asyncio.Future[Any]) -> None:
        due = self._due
        while due and due[0][1].done():
            due.popleft()
        at = self._loop.time() + self._timeout
        due.append((at, answer))
        if self._timer is None:
            self._timer = self._loop.call_at(at, self._look)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """End what is over; look again when the next may be."""
        self._timer = None
        due, now = self._due, self._loop.time()
        while due and (due[0][1].done() or due[0][0] <= now):
            _, answer = due.popleft()
            if not answer.done():
                answer.set_exception(DeadlinePassed(self._passed))
        if due:
            self._timer = self._loop.call_at(due[0][0], self._look)
