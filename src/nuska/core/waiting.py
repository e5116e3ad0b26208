"""Long polls: look, and when there is nothing wait until looking again may help.

Nothing polls. A waiter is registered before its last look, so a message that arrives in
between wakes it; besides, it looks again at the next moment at which a claim or a delay in
the queue ends. How long to wait is real time, whatever clock the messages live by.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from nuska.domain.messages import QueueRef
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import MessageStore
from nuska.interfaces.wakeups import Waiter, Wakeups

Found = TypeVar("Found")

_SHORTEST_WAIT = 0.001
"""Seconds; what is due now may need a moment until the store agrees."""


class Patience:
    """How long a caller waits, and whether it is still there.

    The transport makes one and calls ``leave`` when the client hangs up.
    """

    __slots__ = ("_waiter", "gone", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.gone = False
        self._waiter: Waiter | None = None

    def leave(self) -> None:
        """The client has gone: nothing may be taken for it any more."""
        self.gone = True
        if self._waiter is not None:
            self._waiter.interrupt()

    def attend(self, waiter: Waiter | None) -> None:
        """Tell ``waiter`` when the client goes."""
        self._waiter = waiter


class Watch:
    """What a service needs to let callers wait for its queues."""

    __slots__ = ("_at_most", "_clock", "_messages", "_waiting", "_wakeups")

    def __init__(
        self, messages: MessageStore, wakeups: Wakeups, clock: Clock, at_most: int | None = None
    ) -> None:
        """``at_most`` wait at a time; who comes then looks once."""
        self._messages = messages
        self._wakeups = wakeups
        self._clock = clock
        self._at_most = at_most
        self._waiting = 0

    async def until_found(
        self,
        look: Callable[[], Awaitable[Found]],
        nothing: Callable[[Found], bool],
        queue: QueueRef,
        patience: Patience,
        *,
        taker: bool,
    ) -> Found:
        """The first answer of ``look`` that is not ``nothing``, or the last one in time.

        ``look`` is called at least once, and never after the caller is known to have gone.
        """
        if self._at_most is not None and self._waiting >= self._at_most:
            return await look()
        self._waiting += 1
        try:
            return await self._wait(look, nothing, queue, patience, taker)
        finally:
            self._waiting -= 1

    async def _wait(
        self,
        look: Callable[[], Awaitable[Found]],
        nothing: Callable[[Found], bool],
        queue: QueueRef,
        patience: Patience,
        taker: bool,
    ) -> Found:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience.seconds
        with self._wakeups.waiting(queue, taker=taker) as waiter:
            patience.attend(waiter)
            while True:
                found = await self._look(look, queue, taker)
                left = deadline - loop.time()
                if not nothing(found) or left <= 0 or patience.gone or self._wakeups.stopping:
                    return found
                woken = await waiter.wait(await self._until_due(queue, left))
                if patience.gone:
                    if woken:
                        self._wakeups.wake(queue, 1)  # meant for somebody who is still there
                    return found

    async def _look(
        self, look: Callable[[], Awaitable[Found]], queue: QueueRef, taker: bool
    ) -> Found:
        try:
            return await look()
        except BaseException:
            if taker:
                self._wakeups.wake(queue, 1)  # whoever cannot look lets the next one try
            raise

    async def _until_due(self, queue: QueueRef, left: float) -> float:
        now = self._clock.now()
        due = await self._messages.next_due(queue, now=now)
        if due is None:
            return left
        return min(left, max((due - now) / 1000, _SHORTEST_WAIT))
