"""Requests over one WebSocket connection, as many at once as there are callers.

The connection is opened when it is needed, and again when it is needed after it was lost.
Requests that were under way when it was lost are sent again as ``retries`` allows it; nothing
waits here for a server that stays away longer than a call's deadline.
"""

import asyncio
from itertools import count

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from nuska.client.address import Address
from nuska.client.connection import NOT_OPEN
from nuska.client.errors import (
    CannotConnect,
    ClientError,
    ConnectionBroken,
    DeadlinePassed,
    UnreadableAnswer,
)
from nuska.client.frames import Frame, read_frame, request, success
from nuska.client.merging import Merger, Send
from nuska.client.persistence import Timing, persist
from nuska.client.retries import Repeat, RetryPolicy
from nuska.client.socket import Caller, broken, open_socket

IN_FLIGHT = 128
"""Requests of one connection that wait for their answers at once, as many as a server carries
out side by side unless told otherwise; further ones wait here."""
MOST_MERGERS = 1000
"""Queues of which it is remembered how much of a post they take; then the idle are forgotten."""


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
        self._line: _Line | None = None
        self._opening: asyncio.Task[_Line] | None = None
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self._closed = True
        self._mergers: dict[str, Merger] = {}

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
        mergers, self._mergers = self._mergers, {}
        for merger in mergers.values():
            merger.stop()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._line is not None:
            await self._line.close()
            self._line = None

    def merger(self, queue: str, send: Send) -> Merger:
        """Of all posts to this queue; ``send`` is for the first who asks."""
        merger = self._mergers.get(queue)
        if merger is None:
            if len(self._mergers) >= MOST_MERGERS:
                self._mergers = {name: one for name, one in self._mergers.items() if one.busy}
            merger = self._mergers[queue] = Merger(send)
        return merger

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

    async def _opened(self) -> "_Line":
        """A line, opened once for all who need it now."""
        if self._closed:
            raise RuntimeError(NOT_OPEN)
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name="open the WebSocket")
        # One caller's deadline must not take the line from the others.
        return await asyncio.shield(self._opening)

    async def _open(self) -> "_Line":
        self._line = _Line(await open_socket(self._address, self.caller))
        return self._line


class _Line:
    """One open connection, and who waits for an answer on it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = count(1)
        self._waiting: dict[int | str | None, asyncio.Future[Frame]] = {}
        self.lost = False
        self._reading = asyncio.create_task(self._read(), name="read the WebSocket")

    async def ask(self, action: str, headers: bytes, body: bytes) -> Frame:
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            try:
                await self._socket.send(
                    request(action, number, headers=headers, body=body), text=True
                )
            except ConnectionClosed as error:
                if not answer.done():  # it was closed before a byte went out
                    raise CannotConnect("The connection was lost.") from error
            return success(await answer)
        finally:
            del self._waiting[number]

    async def close(self) -> None:
        await self._socket.close()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        """Bring each reply to who asked; who waits when it ends learns why."""
        why: ClientError = ConnectionBroken("The connection was closed.")
        try:
            while True:
                frame = read_frame(await self._socket.recv(decode=False))
                answer = self._waiting.get(frame.request_id)
                if answer is not None and not answer.done():
                    answer.set_result(frame)
        except ConnectionClosed as error:
            why = broken(error)
        except UnreadableAnswer as error:
            why = error
        finally:
            self.lost = True
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(why)
        await self._socket.close()
