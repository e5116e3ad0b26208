"""One connection that many requests share.

What requests hand in while the connection is busy goes out together, in one write, and
answers come back in order (D11). A lane never sends anything twice: when the connection
breaks, or an answer takes longer than ``ANSWER_WITHIN``, every request on it fails with
``Unavailable``, done or not, and the next one connects anew.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from nuska.domain.errors import Unavailable

CONNECT_WITHIN = 3.0
"""Seconds; with the bound below, the longest a request waits for a server that is gone."""
ANSWER_WITHIN = 3.0
WATCH_EVERY = 0.5

Connect = Callable[[], Awaitable[AbstractConnection]]
Part = bytes | str | int


class Lane:
    """Commands to one server, which ``connect`` finds."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connecting: asyncio.Task[AbstractConnection] | None = None
        self._connection: AbstractConnection | None = None
        self._pending: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._outgoing: list[bytes] = []
        self._has_outgoing = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    async def call(self, *command: Part) -> Any:
        """The answer; raises ``ResponseError`` if Redis refuses, else ``Unavailable``."""
        [answer] = await self.call_together(command)
        return answer

    async def call_together(self, *commands: tuple[Part, ...]) -> list[Any]:
        """Several commands with nothing of anybody else's between them."""
        connection = self._connection or await self._connected()
        loop = asyncio.get_running_loop()
        futures = [loop.create_future() for _ in commands]
        for command, future in zip(commands, futures, strict=True):
            self._outgoing.extend(connection.pack_command(*command))
            self._pending.append((future, loop.time()))
        self._has_outgoing.set()
        return [await future for future in futures]

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def _connected(self) -> AbstractConnection:
        """One attempt serves all who wait for it, so that nobody waits for several."""
        while self._connection is None:
            if self._closed:
                raise Unavailable("The Redis store is closed.")
            if self._connecting is None:
                self._connecting = asyncio.create_task(self._open())
                self._connecting.add_done_callback(self._has_connected)
            await asyncio.shield(self._connecting)
        return self._connection

    def _has_connected(self, attempt: asyncio.Task[AbstractConnection]) -> None:
        self._connecting = None
        if not attempt.cancelled():
            attempt.exception()  # whoever waited may have gone

    async def _open(self) -> AbstractConnection:
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                connection = await self._connect()
        except (RedisError, OSError) as error:
            raise unavailable(error) from error
        self._connection = connection
        self._outgoing = []
        self._has_outgoing.clear()
        self._tasks = [
            asyncio.create_task(self._write(connection)),
            asyncio.create_task(self._read(connection)),
            asyncio.create_task(self._watch()),
        ]
        return connection

    async def _write(self, connection: AbstractConnection) -> None:
        try:
            while True:
                await self._has_outgoing.wait()
                self._has_outgoing.clear()
                group, self._outgoing = self._outgoing, []
                await connection.send_packed_command(group, check_health=False)
        except (RedisError, OSError) as error:
            await self._fail(error)

    async def _read(self, connection: AbstractConnection) -> None:
        try:
            while True:
                answer: Any
                try:
                    answer = await connection.read_response(timeout=math.inf)
                except ResponseError as refusal:
                    answer = refusal
                future = self._pending.popleft()[0]
                if not future.done():
                    if isinstance(answer, ResponseError):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
                if isinstance(answer, ReadOnlyError):  # it is not the primary any more
                    await self._fail(answer)
        except (RedisError, OSError) as error:
            await self._fail(error)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(WATCH_EVERY)
            if self._pending and loop.time() - self._pending[0][1] > ANSWER_WITHIN - WATCH_EVERY:
                await self._fail(TimeoutError("no answer in time"))

    async def _fail(self, error: BaseException) -> None:
        """Let go of the connection; nobody on it learns what became of their request."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        pending, self._pending = self._pending, deque()
        for future, _ in pending:
            if not future.done():
                future.set_exception(unavailable(error))
                future.exception()  # whoever waited may have gone
        tasks, self._tasks = self._tasks, []
        with suppress(RedisError, OSError):
            await connection.disconnect(nowait=True)
        for task in tasks:
            if task is not asyncio.current_task():
                task.cancel()
        if asyncio.current_task() in tasks:
            raise asyncio.CancelledError

    async def close(self) -> None:
        """Wait for the answers that are due, then let go."""
        self._closed = True
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        waiting = [future for future, _ in self._pending]
        if waiting:
            await asyncio.wait(waiting, timeout=ANSWER_WITHIN)
        tasks = self._tasks
        await self._fail(ConnectionError("closed"))
        await asyncio.gather(*tasks, return_exceptions=True)


def unavailable(error: BaseException) -> Unavailable:
    """``error`` for clients, who need not know where the store is; the cause says more."""
    translated = Unavailable("The Redis store cannot answer now.")
    translated.__cause__ = error
    return translated
