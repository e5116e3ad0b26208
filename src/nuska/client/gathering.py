"""Calls that come while others are under way go together: what posts and claims have alike.

At a low rate every call goes by itself and at once. At a high one, those of one turn of the loop,
and those that have gathered while two requests were under way, become the next ones, in the order
of the calls. What may go together, and how, is said by who posts (``merging``) and who claims
(``claiming``); nothing here knows of either.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from nuska.client.deadlines import Deadlines
from nuska.client.errors import ConnectionBroken

UNDER_WAY = 2
"""Requests under way at once before calls wait for each other."""
MOST = 1000
"""Queues of which it is remembered how much goes together; then the idle are forgotten."""

Asked = TypeVar("Asked")
Given = TypeVar("Given")
Waiting = tuple[Asked, asyncio.Future[Given]]
"""What a call asks for, and what it waits for."""


class Gatherer(ABC, Generic[Asked, Given]):
    """The calls of one kind, of one client on one queue."""

    def __init__(self, timeout: float, *, late: str, cut_off: str) -> None:
        """``timeout``: seconds for a call, from its beginning on; requests hold to as many.
        ``late`` and ``cut_off``: what is said to whom nobody answers in that time, and to whom
        nobody answers because his request has been cut off."""
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting[Asked, Given]] = deque()
        self._deadlines = Deadlines(timeout, late)
        self._cut_off = cut_off
        self._carriers: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._going_on = False

    @abstractmethod
    def _beginning(self) -> Callable[[Asked], bool]:
        """Of a new request: tells, call by call, whether the next goes with those before it.
        The first goes whatever it is told."""

    @abstractmethod
    async def _carry_out(self, batch: list[Waiting[Asked, Given]]) -> None:
        """Make one request of ``batch``. Whom it leaves without an answer it puts back in line."""

    @property
    def busy(self) -> bool:
        return bool(self._carriers or self._waiting)

    def stop(self) -> None:
        """Send nothing more; what is under way ends as its request does."""
        self._deadlines.stop()
        waiting = list(self._waiting)
        self._waiting.clear()
        fail(waiting, ConnectionBroken("The client was closed."))

    def _ask(self, asked: Asked) -> asyncio.Future[Given]:
        """The answer to a call, when it comes."""
        answer: asyncio.Future[Given] = self._loop.create_future()
        self._waiting.append((asked, answer))
        self._deadlines.add(answer)
        self._go_on_soon()
        return answer

    def _go_on_soon(self) -> None:
        """At the end of this turn: who was answered together may well ask together."""
        if not self._going_on and len(self._carriers) < UNDER_WAY:
            self._going_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going_on = False
        if self._is_awaited():
            for _ in range(min(len(self._waiting), UNDER_WAY - len(self._carriers))):
                carrier = self._loop.create_task(self._carry(), name=type(self).__name__)
                self._carriers.add(carrier)
                carrier.add_done_callback(self._ended)

    def _ended(self, carrier: asyncio.Task[None]) -> None:
        self._carriers.discard(carrier)
        if self._waiting:
            self._go_on_soon()

    async def _carry(self) -> None:
        """Make one request after the other, as long as anybody waits for one."""
        while batch := self._gathered():
            self._under_way += 1
            try:
                await self._carry_out(batch)
                # Those who were answered go on first: when they ask again, they go with the next.
                await asyncio.sleep(0)
            except BaseException:
                fail(batch, ConnectionBroken(self._cut_off))  # nobody is left waiting
                raise
            finally:
                self._under_way -= 1

    def _gathered(self) -> list[Waiting[Asked, Given]]:
        """Who goes now, in the order of the calls: those who may go together, as many as leave
        the same for others who are free to carry."""
        batch: list[Waiting[Asked, Given]] = []
        share = -(-len(self._waiting) // (UNDER_WAY - self._under_way))
        goes_too = self._beginning()
        while len(batch) < share and self._is_awaited():
            if not goes_too(self._waiting[0][0]) and batch:
                break
            batch.append(self._waiting.popleft())
        if self._waiting:
            self._go_on_soon()
        return batch

    def _is_awaited(self) -> bool:
        """Whether anybody waits to go; those who have left the head of the line are forgotten."""
        waiting = self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        return bool(waiting)


Kind = TypeVar("Kind", bound=Gatherer)  # type: ignore[type-arg]  # whatever they ask and are given


class Gatherers(Generic[Kind]):
    """Those of one kind, by their queues."""

    def __init__(self) -> None:
        self._of: dict[str, Kind] = {}

    def of(self, queue: str, new: Callable[[], Kind]) -> Kind:
        """All calls on a queue go to the same one; ``new`` makes it for the first who asks."""
        found = self._of.get(queue)
        if found is None:
            if len(self._of) >= MOST:
                self._of = {name: one for name, one in self._of.items() if one.busy}
            found = self._of[queue] = new()
        return found

    def stop(self) -> None:
        """Each; who asks afterwards gets a new one."""
        gatherers, self._of = self._of, {}
        for one in gatherers.values():
            one.stop()


def fail(batch: Iterable[Waiting[Asked, Given]], error: Exception) -> None:
    """Tell those who still wait."""
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
