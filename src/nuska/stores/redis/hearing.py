"""A connection that listens to the channels in which somebody on this node is interested.

What it listens to follows the interest while it stands: classes one by one, or all by one
pattern. A class is heard from the moment at which Redis has confirmed it, and whoever waits in
it is told then to look for himself: what was said before was said to nobody here.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from nuska.interfaces.storage import Hear
from nuska.stores.redis.interest import Interest
from nuska.stores.redis.lane import ANSWER_WITHIN, CONNECT_WITHIN
from nuska.stores.redis.names import Names
from nuska.stores.redis.servers import Servers

PING_EVERY = 5.0
SILENT_FOR = PING_EVERY + ANSWER_WITHIN
"""Seconds after which a connection that says nothing is thought to be cut."""
ANY = 100
"""Takers of a queue that look for themselves when hints may have been missed."""


class Hearing:
    """One connection after the other."""

    def __init__(
        self, servers: Servers, names: Names, interest: Interest, changed: asyncio.Event
    ) -> None:
        self._servers = servers
        self._names = names
        self._interest = interest
        self._changed = changed
        self._connection: AbstractConnection | None = None
        self._hears_all = False

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """While a connection stands that listens to all that is wanted now."""
        async with asyncio.timeout(CONNECT_WITHIN):
            connection = self._connection = await self._servers.connect()
            try:
                await self._begin(connection)
            except BaseException:
                await _let_go(connection)
                raise
        keeping_up = asyncio.create_task(self._keep_up(), name="redis hearing")
        try:
            yield
        finally:
            keeping_up.cancel()
            await asyncio.wait([keeping_up])
            await _let_go(connection)

    async def _begin(self, connection: AbstractConnection) -> None:
        """What is said meanwhile is passed over: everybody looks for himself afterwards."""
        self._changed.clear()
        self._hears_all = self._interest.is_too_much(listens_to_all=False)
        classes = self._interest.classes()
        await self._send("SUBSCRIBE", self._names.hints)
        to_come = 1
        if self._hears_all:
            await self._send("PSUBSCRIBE", self._names.all_hints)
            to_come += 1
        else:
            await self._send_classes("SUBSCRIBE", classes)
            to_come += len(classes)
        while to_come:
            answer = await connection.read_response()
            to_come -= answer[0] in (b"subscribe", b"psubscribe")

    async def _keep_up(self) -> None:
        loop = asyncio.get_running_loop()
        ping_at = loop.time() + PING_EVERY
        with suppress(RedisError, OSError):  # whoever reads finds out
            while True:
                try:
                    async with asyncio.timeout_at(ping_at):
                        await self._changed.wait()
                except TimeoutError:
                    await self._send("PING")
                    ping_at = loop.time() + PING_EVERY
                self._changed.clear()
                await self._follow(loop.time())

    async def _follow(self, now: float) -> None:
        """Listen to what is wanted now."""
        left = self._interest.forget(now)
        if self._interest.is_too_much(listens_to_all=self._hears_all):
            self._interest.news()  # is heard already, or from the confirmation on
            if not self._hears_all:
                await self._send("UNSUBSCRIBE")
                await self._send("SUBSCRIBE", self._names.hints)
                await self._send("PSUBSCRIBE", self._names.all_hints)
                self._hears_all = True
        elif self._hears_all:
            await self._send("PUNSUBSCRIBE")
            await self._send_classes("SUBSCRIBE", self._interest.classes())
            self._hears_all = False
        else:
            await self._send_classes("UNSUBSCRIBE", left)
            await self._send_classes("SUBSCRIBE", self._interest.news())

    async def _send_classes(self, command: str, classes: Iterable[int]) -> None:
        channels = [self._names.hints_of(number) for number in classes]
        if channels:
            await self._send(command, *channels)

    async def _send(self, *command: str) -> None:
        assert self._connection is not None, "it is connected"
        await self._connection.send_command(*command, check_health=False)

    async def pass_on(self, said: Callable[[bytes], None], hear: Hear) -> None:
        """Until the connection is lost, or seems to be."""
        assert self._connection is not None, "it is connected"
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SILENT_FOR) as silence:
            while True:
                answer: Any = await self._connection.read_response(timeout=math.inf)
                silence.reschedule(loop.time() + SILENT_FOR)
                match answer[0]:
                    case b"message" | b"pmessage":
                        said(answer[-1])
                    case b"subscribe":
                        self._look(answer[1], hear)
                    case b"psubscribe":
                        hear(None, 0)

    def _look(self, channel: bytes, hear: Hear) -> None:
        """Who waits in the class of ``channel`` may have missed something until now."""
        number = self._names.class_of_hints(channel.decode())
        if number is not None:
            for queue in self._interest.queues_of(number):
                hear(queue, ANY)


async def _let_go(connection: AbstractConnection) -> None:
    with suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)
