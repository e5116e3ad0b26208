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
from typing import NamedTuple

from nuska.client.gathering import Gatherer, fail
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


Waiting = tuple[Terms, asyncio.Future[Claim | None]]


class ClaimMerger(Gatherer[Terms, Claim | None]):
    """The claims of one client on one queue."""

    def __init__(self, calls: ClaimCalls, timeout: float) -> None:
        """``timeout``: seconds for a claim, from its call on; ``calls`` hold to as many."""
        super().__init__(
            timeout, late="No claim was made in time.", cut_off="The claim was cut off."
        )
        self._calls = calls
        self._giving_back: set[asyncio.Task[None]] = set()
        self._most = MOST_TOGETHER
        """Claims that go together; fewer while messages are large."""

    async def claim(self, terms: Terms) -> Claim | None:
        """A claim; None when there is nothing to claim."""
        answer = self._ask(terms)
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.cancelled() and answer.exception() is None:  # it had just come
                self._give_back_aside(answer.result())
            raise

    @property
    def busy(self) -> bool:
        return super().busy or bool(self._giving_back)

    def _beginning(self) -> Callable[[Terms], bool]:
        """Those go who ask for the same as the first."""
        first: Terms | None = None
        count = 0

        def goes_too(terms: Terms) -> bool:
            nonlocal first, count
            first = first or terms
            count += 1
            return terms == first and count <= self._most

        return goes_too

    async def _carry_out(self, batch: list[Waiting]) -> None:
        try:
            claims = await self._calls.create(batch[0][0], len(batch))
        except Exception as error:
            fail(batch, error)
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
