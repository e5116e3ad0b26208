"""Hints between the nodes of a store that a queue may have something for those who wait (D13).

Queues fall into classes by their names, and every class has a channel, to which only those
nodes listen where somebody waits for a queue of it (``interest.py``). What a node has to say
while a hint is on its way goes out together. A hint is never the truth: one that is lost costs
time and nothing else. Whoever begins to wait in a class to which the node did not listen yet
looks once more when it does; while nothing can be heard, all look for themselves now and then.
"""

import asyncio
import logging
import secrets
from contextlib import suppress

import msgspec
from redis.exceptions import RedisError

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Hear
from nuska.stores.redis.hearing import Hearing
from nuska.stores.redis.interest import Interest, class_of
from nuska.stores.redis.lane import ANSWER_WITHIN, TELL, Part
from nuska.stores.redis.names import Names, queue_of_tag, tag
from nuska.stores.redis.servers import Servers

QUEUES_AT_ONCE = 1000
"""In one call; when there is more to tell, it is for everybody."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between looks for oneself while nothing can be heard."""

log = logging.getLogger("nuska.stores.redis")


class Hint(msgspec.Struct, array_like=True, frozen=True):
    """What travels: who says it, and of which queues; of none means of any."""

    node: str
    queues: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Hint).decode


class Hints:
    """Tells other nodes and hears them."""

    def __init__(self, servers: Servers, names: Names) -> None:
        self._servers = servers
        self._names = names
        self._node = secrets.token_hex(6)
        self._to_tell: dict[str, int] = {}
        self._telling: asyncio.Task[None] | None = None
        self._interest = Interest()
        self._changed = asyncio.Event()
        """What this node ought to listen to has changed."""

    def heed(self, queue: QueueRef | None) -> None:
        self._interest.heed(queue)
        if queue is None or self._interest.has_news:
            self._changed.set()

    def disregard(self, queue: QueueRef | None) -> None:
        self._interest.disregard(queue, asyncio.get_running_loop().time())
        if queue is None:
            self._changed.set()

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
                said = self._said(queues)
                call = ("PUBLISH", *said) if len(said) == 2 else (*TELL, 0, *said)
                with suppress(RedisError, Unavailable):  # then others look for themselves
                    await self._servers.call(self._names.hints, *call)
        finally:
            self._telling = None

    def _said(self, queues: dict[str, int]) -> list[Part]:
        """Channels, and what to say in each."""
        if len(queues) > QUEUES_AT_ONCE:
            return [self._names.hints, _encode(Hint(self._node, {}))]
        by_class: dict[int, dict[str, int]] = {}
        for name, messages in queues.items():
            by_class.setdefault(class_of(name), {})[name] = messages
        said: list[Part] = []
        for number, some in by_class.items():
            said += [self._names.hints_of(number), _encode(Hint(self._node, some))]
        return said

    async def hear_others(self, hear: Hear) -> None:
        """Until cancelled. ``hear(None, 0)``: hints may have been lost, of any queue."""
        pause, was_heard = FIRST_PAUSE, True
        hearing = Hearing(self._servers, self._names, self._interest, self._changed)
        while True:
            try:
                async with hearing.connected():
                    pause, was_heard = FIRST_PAUSE, True
                    hear(None, 0)
                    await hearing.pass_on(lambda data: self._pass_on(data, hear), hear)
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
            queue = self._interest.queue(name)
            if queue is None and self._interest.is_of_everything:
                queue = queue_of_tag(name)
            if queue is not None:
                hear(queue, messages)

    async def close(self) -> None:
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=ANSWER_WITHIN)
