"""Requests over one WebSocket connection, as many at once as there are callers.

The connection is opened when it is needed, and again when it is needed after it was lost.
Requests that were under way when it was lost are sent again as ``retries`` allows it; nothing
waits here for a server that stays away longer than a call's deadline.
"""

import asyncio

from nuska.client.address import Address
from nuska.client.claiming import ClaimCalls, ClaimMerger
from nuska.client.connection import NOT_OPEN
from nuska.client.errors import DeadlinePassed
from nuska.client.frames import Frame
from nuska.client.gathering import Gatherers
from nuska.client.line import Line
from nuska.client.merging import Merger, Send
from nuska.client.persistence import Timing, persist
from nuska.client.retries import Repeat, RetryPolicy
from nuska.client.socket import Caller, open_socket

IN_FLIGHT = 128
"""Requests of one connection that wait for their answers at once, as many as a server carries
out side by side unless told otherwise; further ones wait here."""


class Channel:
    """The way to one server, for one project and one Client-ID, over WebSocket."""

    def __init__(
        self,
        address: Address,
        caller: Caller,
        *,
        timeout: float,
        retry: RetryPolicy,
        timing: Timing,
    ) -> None:
        self.timeout = timeout
        self._address = address
        self.caller = caller
        self._retry = retry
        self.timing = timing
        self._line: Line | None = None
        self._opening: asyncio.Task[Line] | None = None
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._closed = True
        self._mergers: Gatherers[Merger] = Gatherers()
        self._claim_mergers: Gatherers[ClaimMerger] = Gatherers()

    def open(self) -> None:
        """Allow calls; nothing is connected before the first one."""
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether a call would find a connection."""
        return self._line is not None and not self._line.lost

    async def prepare(self) -> None:
        """Open the connection, if it is not; raises what a call would, without trying again."""
        if not self.is_open:
            await self._opened()

    async def close(self) -> None:
        """Say good-bye; what is under way ends with ``ConnectionBroken``."""
        self._closed = True
        self._mergers.stop()
        self._claim_mergers.stop()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._line is not None:
            await self._line.close()
            self._line = None

    def merger(self, queue: str, send: Send) -> Merger:
        """Of all posts to this queue; ``send`` is for the first who asks."""
        return self._mergers.of(queue, lambda: Merger(send, self.timeout))

    def claim_merger(self, queue: str, calls: ClaimCalls) -> ClaimMerger:
        """Of all claims on this queue; ``calls`` are for the first who asks."""
        return self._claim_mergers.of(queue, lambda: ClaimMerger(calls, self.timeout))

    async def call(
        self,
        action: str,
        body: bytes,
        *,
        headers: bytes | None = None,
        repeat: Repeat = Repeat.HARMLESS,
        timeout: float | None = None,  # noqa: ASYNC109  a budget over several attempts
    ) -> Frame:
        """Send a request, as often as its nature and the policy allow, within the deadline."""

        async def once(seconds: float) -> Frame:
            try:
                async with asyncio.timeout(max(seconds, 0.0)), self._room:
                    line = self._line
                    if line is None or line.lost:
                        line = await self._opened()
                    return await line.ask(action, headers or self.caller.headers, body)
            except DeadlinePassed:
                raise
            except TimeoutError as error:
                raise DeadlinePassed(f"{self._address} did not answer in time.") from error

        return await persist(
            once,
            seconds=self.timeout if timeout is None else timeout,
            retry=self._retry,
            repeat=repeat,
            timing=self.timing,
        )

    async def _opened(self) -> Line:
        """A line, opened once for all who need it now."""
        if self._closed:
            raise RuntimeError(NOT_OPEN)
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name="open the WebSocket")
        # One caller's deadline must not take the line from the others.
        return await asyncio.shield(self._opening)

    async def _open(self) -> Line:
        self._line = await open_socket(self._address, self.caller, Line)
        self._line.begin()
        return self._line
