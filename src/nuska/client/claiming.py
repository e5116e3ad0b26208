"""Claims of one queue that are asked for while others are under way go together, in one request.

A claim that nobody else asks for at the time goes by itself and at once. Many that ask for the
same become one request, which the server answers with a claim for each, as far as there are
messages; whoever gets none asks again, unless there was nothing at all. Nobody else can tell.
Claims that wait for messages do not come here: they would hold up the others.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from nuska.client.errors import ConnectionBroken
from nuska.client.merging import UNDER_WAY, Deadlines
from nuska.client.records import Claim

MOST_TOGETHER = 20
"""Claims that the server makes for one request."""


class Terms(NamedTuple):
    """What is asked of a claim."""

    limit: int
    ttl: int
    grace: int | None
    attributes: bool


class ClaimCalls(NamedTuple):
    """How claims are made, and given back."""

    create: Callable[[Terms, int], Awaitable[list[Claim]]]
    release: Callable[[str], Awaitable[None]]


Answer = asyncio.Future[Claim | None]
Waiting = tuple[Terms, Answer]


class ClaimMerger:
    """The claims of one client on one queue."""

    def __init__(self, calls: ClaimCalls, timeout: float) -> None:
        """``timeout``: seconds for a claim, from its call on; ``calls`` hold to as many."""
        self._calls = calls
        self._waiting: deque[Waiting] = deque()
        self._deadlines = Deadlines(timeout, "No claim was made in time.")
        self._loop = asyncio.get_running_loop()
        self._under_way: set[asyncio.Task[None]] = set()
        self._giving_back: set[asyncio.Task[None]] = set()
        self._going_on = False
        self._most = MOST_TOGETHER
        """Claims that go together; fewer while messages are large."""

    async def claim(self, terms: Terms) -> Claim | None:
        """A claim; None when there is nothing to claim."""
        answer: Answer = self._loop.create_future()
        self._waiting.append((terms, answer))
        self._deadlines.add(answer)
        self._go_on_soon()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None:  # it had just come
                self._give_back_aside(answer.result())
            raise

    @property
    def busy(self) -> bool:
        return bool(self._under_way or self._waiting or self._giving_back)

    def stop(self) -> None:
        """Send nothing more; what is under way ends as its request does."""
        self._deadlines.stop()
        waiting = list(self._waiting)
        self._waiting.clear()
        _fail(waiting, ConnectionBroken("The client was closed."))

    def _go_on_soon(self) -> None:
        """At the end of this turn: who was answered together may well claim together."""
        if not self._going_on and len(self._under_way) < UNDER_WAY:
            self._going_on = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._going_on = False
        while room := UNDER_WAY - len(self._under_way):
            batch = self._gathered(-(-len(self._waiting) // room))
            if not batch:
                return
            task = self._loop.create_task(self._claim_together(batch), name="claim together")
            self._under_way.add(task)
            task.add_done_callback(partial(self._ended, batch))

    def _ended(self, batch: list[Waiting], task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is not None:  # nobody is left waiting
            _fail(batch, ConnectionBroken("The claim was cut off."))
        self._under_way.discard(task)
        self._go_on_soon()

    def _gathered(self, share: int) -> list[Waiting]:
        """Who may go together now, in the order of the calls: those who ask for the same as the
        first, at most ``share`` of them."""
        batch: list[Waiting] = []
        most = min(max(share, 1), self._most)
        while self._waiting and len(batch) < most:
            terms, answer = self._waiting[0]
            if answer.done():  # nobody waits for it any more
                self._waiting.popleft()
            elif batch and terms != batch[0][0]:
                break
            else:
                batch.append(self._waiting.popleft())
        return batch

    async def _claim_together(self, batch: list[Waiting]) -> None:
        try:
            claims = await self._calls.create(batch[0][0], len(batch))
        except Exception as error:
            _fail(batch, error)
            return
        self._most = min(MOST_TOGETHER, 2 * len(claims)) if claims else MOST_TOGETHER
        left = deque(claims)
        unserved: list[Waiting] = []
        for terms, answer in batch:
            if answer.done():
                continue
            if left:
                answer.set_result(left.popleft())
            elif claims:
                unserved.append((terms, answer))
            else:
                answer.set_result(None)
        self._waiting.extendleft(reversed(unserved))
        for claim in left:  # of those who wait no longer
            self._give_back_aside(claim)

    def _give_back_aside(self, claim: Claim | None) -> None:
        """Nobody waits for that."""
        if claim is not None:
            task = self._loop.create_task(self._give_back(claim), name="give back a claim")
            self._giving_back.add(task)
            task.add_done_callback(self._giving_back.discard)

    async def _give_back(self, claim: Claim) -> None:
        with suppress(Exception):  # else it ends by itself, after its ttl
            await self._calls.release(claim.id)


def _fail(batch: list[Waiting], error: Exception) -> None:
    for _, answer in batch:
        if not answer.done():
            answer.set_exception(error)
