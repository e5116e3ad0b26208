"""Works through a queue: claim a message, hand it to a function, delete it or give it back.

Each message has a claim of its own, so that one failure gives back one message, and none is
held by a worker that is busy with another. A message whose work failed is not free again at
once: it would come back to the head of the queue and keep the worker from all others.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from nuska.client.claims import CLAIM_TTL
from nuska.client.errors import ClaimLost, ClientError
from nuska.client.held import RELEASE_TIMEOUT, ClaimedMessage, HeldClaim
from nuska.client.queues import Queue
from nuska.client.retries import RetryPolicy, passes

Handler = Callable[[ClaimedMessage], Awaitable[None]]
"""Does the work of one message. Returning means done; raising gives the message back."""

WAIT = 20
"""Seconds an idle worker waits in the server with one request."""
IDLE = 1.0
"""Seconds between two empty answers at least, should the server not know how to wait."""
RETRY_DELAY = 1.0
"""Seconds before a message whose work failed is free for another attempt."""
MOST_HELD_BACK = 100
"""Failed messages held back at once; one more waits, or ends a worker that runs until empty."""
SERVER_AWAY = RetryPolicy(first=0.5, longest=30.0)
"""The pauses between attempts to claim while the server cannot be used."""
LAST_CLAIM = 0.5
"""Seconds a claim under way when the worker is stopped has to come back. To cut it off at once
would leave its message claimed by nobody."""

log = logging.getLogger("nuska.client")


class GiveBack(Exception):
    """Raised by a handler that has dealt with its failure: give back, and say nothing."""


@dataclass(slots=True)
class WorkReport:
    """What a worker did."""

    done: int = 0
    """Messages worked on and deleted."""
    failed: int = 0
    """Attempts that failed; their messages were given back."""


class Worker:
    """Runs ``handler`` on the messages of ``queue``, ``jobs`` at a time, until told to stop.

    ``until_empty`` ends when there is nothing to claim, and tries each message once; ``most``
    ends after that many messages. A server that is away is waited for, except ``until_empty``.
    """

    def __init__(
        self,
        queue: Queue,
        handler: Handler,
        *,
        jobs: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = WAIT,
        retry_delay: float = RETRY_DELAY,
        until_empty: bool = False,
        most: int | None = None,
        attributes: bool = False,
    ) -> None:
        self._queue = queue
        self._handler = handler
        self._jobs = jobs
        self._ttl, self._grace = ttl, grace
        self._wait = 0 if until_empty else wait
        self._attributes = attributes
        self._retry_delay = retry_delay
        self._until_empty = until_empty
        self._left = most
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        self._background: asyncio.TaskGroup
        self._claiming: set[asyncio.Task[Any]] = set()
        self._held_back = 0
        self._room = asyncio.Semaphore(MOST_HELD_BACK)
        self._fatal: ClientError | None = None
        self.report = WorkReport()

    def stop(self) -> None:
        """Finish the work in hand and take no more; ``run`` returns after that."""
        self._stopping.set()

    async def run(self) -> WorkReport:
        """Work. Raises what makes claiming impossible; a worker runs only once."""
        async with asyncio.TaskGroup() as background:
            self._background = background
            watcher = background.create_task(self._let_go_when_stopped())
            try:
                async with asyncio.TaskGroup() as slots:
                    for number in range(self._jobs):
                        slots.create_task(self._slot(), name=f"job {number}")
            finally:
                watcher.cancel()
                self._ended.set()
        if self._fatal is not None:
            raise self._fatal
        return self.report

    async def _slot(self) -> None:
        """One message after the other."""
        away = 0
        while not self._stopping.is_set() and self._left != 0:
            if self._left is not None:
                self._left -= 1  # before the claim: another slot must not take the last one, too
            started = self._queue.timing.clock()
            try:
                found = await self._one()
            except ClientError as error:
                if self._until_empty or not passes(error):
                    self._fatal = self._fatal or error
                    self.stop()
                    return
                away, found = away + 1, False
                log.warning("no claim on queue %s: %s", self._queue.name, error)
                await self._rest(self._away_pause(away))
            else:
                away = 0
                if not found and not self._until_empty:
                    await self._rest(IDLE - (self._queue.timing.clock() - started))
            if not found and self._left is not None:
                self._left += 1
            if not found and self._until_empty:
                return

    async def _one(self) -> bool:
        """Claim and handle one message; False when there was none."""
        found = False
        try:
            async with AsyncExitStack() as stack:
                with self._may_be_cut_off():
                    claim = await stack.enter_async_context(
                        self._queue.claim(
                            limit=1,
                            ttl=self._ttl,
                            grace=self._grace,
                            wait=self._wait,
                            attributes=self._attributes,
                        )
                    )
                for message in claim:
                    found = True
                    if not await self._handle(message):
                        await self._hold_back(claim)
        except ClaimLost as loss:
            self.report.failed += 1
            log.warning("%s", loss)
        return found

    async def _handle(self, message: ClaimedMessage) -> bool:
        """Whether the work was done and the message deleted."""
        try:
            await self._handler(message)
            if await self._delete(message):
                self.report.done += 1
                return True
        except GiveBack:
            pass
        except ClaimLost as loss:
            log.warning("%s", loss)
        except Exception as error:  # the handler may fail in any way
            log.warning("message %s is given back: %r", message.id, error, exc_info=error)
        self.report.failed += 1
        return False

    async def _delete(self, message: ClaimedMessage) -> bool:
        """Delete what is done. While the claim lives, a server that is away for a moment is no
        reason to have the work done twice; a worker that is to end does not wait for it."""
        away = 0
        while True:
            try:
                await message.delete()
            except ClaimLost:
                raise
            except ClientError as error:
                away += 1
                log.warning("message %s is done but cannot be deleted now: %s", message.id, error)
                if self._until_empty or self._stopping.is_set() or not passes(error):
                    return False
                await self._rest(self._away_pause(away))
            else:
                return True

    async def _hold_back(self, claim: HeldClaim) -> None:
        """Let a failed message stay claimed for a while, without keeping the slot busy."""
        if claim.id is None or claim.lost:
            return
        if self._until_empty:
            if self._held_back >= MOST_HELD_BACK:
                self.stop()
        else:
            await self._room.acquire()
        claim.keep()
        self._held_back += 1
        self._background.create_task(self._give_back(claim.id), name=f"give back {claim.id}")

    async def _give_back(self, claim_id: str) -> None:
        await self._until(self._ended, None if self._until_empty else self._retry_delay)
        try:
            await self._queue.release_claim(claim_id, timeout=RELEASE_TIMEOUT)
        except ClientError as error:
            log.warning("claim %s could not be released and ends by itself: %s", claim_id, error)
        self._room.release()

    @contextmanager
    def _may_be_cut_off(self) -> Iterator[None]:
        """While waiting for a message there is nothing to finish."""
        task = asyncio.current_task()
        assert task is not None
        self._claiming.add(task)
        try:
            yield
        finally:
            self._claiming.discard(task)

    async def _let_go_when_stopped(self) -> None:
        await self._stopping.wait()
        await self._queue.timing.sleep(LAST_CLAIM)
        for task in self._claiming:
            task.cancel()

    def _away_pause(self, times: int) -> float:
        return SERVER_AWAY.pause(times, retry_after=None, dice=self._queue.timing.dice)

    async def _rest(self, seconds: float) -> None:
        if seconds > 0:
            await self._until(self._stopping, seconds)

    async def _until(self, event: asyncio.Event, seconds: float | None) -> None:
        """Until ``event``, or until ``seconds`` have passed."""
        waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(event.wait())]
        if seconds is not None:
            waiting.append(asyncio.ensure_future(self._queue.timing.sleep(seconds)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
