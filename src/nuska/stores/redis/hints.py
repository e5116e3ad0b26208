"""Hints between the nodes of a store that a queue may have something for those who wait (D13).

One channel for all queues; what a node has to say while a hint is on its way goes out
together. A hint is never the truth: one that is lost costs time and nothing else. While
nothing can be heard, those who wait are woken now and then to look for themselves.
"""

import asyncio
import logging
import math
import secrets
from contextlib import suppress

import msgspec
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Hear
from nuska.stores.redis.lane import ANSWER_WITHIN, CONNECT_WITHIN
from nuska.stores.redis.names import queue_of_tag, tag
from nuska.stores.redis.servers import Servers

QUEUES_AT_ONCE = 1000
"""In one hint; when there is more to tell, it is for everybody."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between looks for oneself while nothing can be heard."""
PING_EVERY = 5.0
SILENT_FOR = PING_EVERY + ANSWER_WITHIN
"""Seconds after which a connection that says nothing is thought to be cut."""

log = logging.getLogger("nuska.stores.redis")


class Hint(msgspec.Struct, array_like=True, frozen=True):
    """What travels: who says it, and of which queues; of none means of any."""

    node: str
    queues: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Hint).decode


class Hints:
    """Tells other nodes and hears them."""

    def __init__(self, servers: Servers, channel: str) -> None:
        self._servers = servers
        self._channel = channel
        self._node = secrets.token_hex(6)
        self._to_tell: dict[str, int] = {}
        self._telling: asyncio.Task[None] | None = None

    def tell(self, queue: QueueRef, messages: int) -> None:
        """Never waits, never fails."""
        if len(self._to_tell) <= QUEUES_AT_ONCE:
            name = tag(queue)
            self._to_tell[name] = self._to_tell.get(name, 0) + messages
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="redis hints")

    async def _tell(self) -> None:
        try:
            while self._to_tell:
                queues, self._to_tell = self._to_tell, {}
                hint = Hint(self._node, {} if len(queues) > QUEUES_AT_ONCE else queues)
                with suppress(RedisError, Unavailable):  # then others look for themselves
                    await self._servers.call(self._channel, "PUBLISH", self._channel, _encode(hint))
        finally:
            self._telling = None

    async def listen(self, hear: Hear) -> None:
        """Until cancelled. ``hear(None, 0)``: hints may have been lost, of any queue."""
        pause, was_heard = FIRST_PAUSE, True
        while True:
            try:
                connection = await self._subscribed()
                pause, was_heard = FIRST_PAUSE, True
                hear(None, 0)
                await self._hear(connection, hear)
            except (RedisError, OSError, Unavailable) as error:
                if was_heard:
                    log.warning(
                        "other nodes cannot be heard; who waits looks now and then",
                        extra={"reason": str(error)},
                    )
                was_heard = False
            hear(None, 0)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _subscribed(self) -> AbstractConnection:
        async with asyncio.timeout(CONNECT_WITHIN):
            connection = await self._servers.connect()
            try:
                await connection.send_command("SUBSCRIBE", self._channel, check_health=False)
                await connection.read_response()
            except BaseException:
                await _let_go(connection)
                raise
        return connection

    async def _hear(self, connection: AbstractConnection, hear: Hear) -> None:
        pinging = asyncio.create_task(_ping(connection))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SILENT_FOR) as silence:
                while True:
                    answer = await connection.read_response(timeout=math.inf)
                    silence.reschedule(loop.time() + SILENT_FOR)
                    if answer[0] == b"message":
                        self._pass_on(answer[2], hear)
        finally:
            pinging.cancel()
            await asyncio.wait([pinging])
            await _let_go(connection)

    def _pass_on(self, data: bytes, hear: Hear) -> None:
        try:
            hint = _decode(data)
        except msgspec.MsgspecError:
            return  # nobody's that we know
        if hint.node == self._node:
            return
        if not hint.queues:
            hear(None, 0)
        for name, messages in hint.queues.items():
            hear(queue_of_tag(name), messages)

    async def close(self) -> None:
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=ANSWER_WITHIN)


async def _ping(connection: AbstractConnection) -> None:
    with suppress(RedisError, OSError):  # whoever reads finds out
        while True:
            await asyncio.sleep(PING_EVERY)
            await connection.send_command("PING", check_health=False)


async def _let_go(connection: AbstractConnection) -> None:
    with suppress(RedisError, OSError):
        await connection.disconnect(nowait=True)
