"""Telling those who wait that a queue may have something for them (a hint, never the truth)."""

from contextlib import AbstractContextManager
from typing import Protocol

from nuska.domain.messages import QueueRef


class Waiter(Protocol):
    """One request that waits for a queue."""

    async def wait(self, seconds: float) -> bool:
        """Until something may be available, at most ``seconds``. True when woken.

        Also returns, with True, when the service is stopping; with False after ``interrupt``.
        """
        ...

    def interrupt(self) -> None:
        """Make the wait that goes on, or else the next one, return at once."""
        ...


class Wakeups(Protocol):
    def waiting(self, queue: QueueRef, *, taker: bool) -> AbstractContextManager[Waiter]:
        """Register a waiter. ``taker``: it takes messages away, so one message wakes one."""
        ...

    def wake(self, queue: QueueRef, messages: int) -> None:
        """``messages`` became available: wake every reader and that many takers, longest
        waiting first. Never waits, never fails."""
        ...

    @property
    def stopping(self) -> bool:
        """True once the service has begun to stop: long polls answer with what they have."""
        ...
