"""Hints between the nodes of a database that a queue may have something for those who wait (D13).

PostgreSQL carries them itself, by LISTEN and NOTIFY: never inside the transaction of a write,
whose commit would then wait for everybody else's, but after it, and what a node has to say
while a hint is on its way goes out together. On a database that carries nothing, nodes look at
a table of hints (``polling.py``). A hint is never the truth: one that is lost costs time
and nothing else.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Protocol

import msgspec
from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Hear
from nuska.stores.sql.database import ANSWER_WITHIN, Database
from nuska.stores.sql.dialects.interface import CONNECT_WITHIN
from nuska.stores.sql.statements import Statement

CHANNEL = "nuska"
"""Channels are a database's own, so two stores on one server do not hear each other."""
QUEUES_AT_ONCE = 1000
"""When there is more to tell, it is for everybody."""
BYTES = 7_900
"""In one hint; the server takes less than 8000."""
TELL_EVERY = 0.005
"""Seconds at least between two hints of a node: a busy one says more at once, not more often."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between looks for oneself while nothing can be heard."""
PROBE_EVERY = 5.0
"""Seconds between hints to oneself: one that does not arrive means that none does."""

log = logging.getLogger("nuska.stores.sql")


class Hints(Protocol):
    """Tells other nodes and hears them: ``SharedStore.tell`` and ``hear_others``."""

    def tell(self, queue: QueueRef, messages: int) -> None: ...

    async def hear_others(self, hear: Hear) -> None: ...

    async def close(self) -> None: ...


class Looking:
    """``Hints`` where nothing can carry them: whoever waits looks for himself."""

    def tell(self, queue: QueueRef, messages: int) -> None:
        """Nobody would hear it."""

    async def hear_others(self, hear: Hear) -> None:
        while True:
            hear(None, 0)
            await asyncio.sleep(LONGEST_PAUSE)

    async def close(self) -> None:
        """Nothing is under way."""


class Hint(msgspec.Struct, array_like=True, frozen=True):
    """What travels: who says it, and of which queues; of none means of any."""

    node: str
    queues: list[tuple[str, str, int]]


_decode = msgspec.json.Decoder(Hint).decode

_NOTIFY = text("SELECT pg_notify(:channel, payload) FROM unnest(:payloads) AS payload").bindparams(
    bindparam("payloads", type_=ARRAY(Text))
)


class Telling:
    """What a node has to say goes out together, after a moment; whoever tells never waits."""

    def __init__(
        self, say: Callable[[Mapping[QueueRef, int]], Awaitable[None]], *, after: float = 0
    ) -> None:
        """``after``: seconds for which what there is to say is gathered."""
        self._say = say
        self._after = after
        self._to_tell: dict[QueueRef, int] = {}
        self._telling: asyncio.Task[None] | None = None

    def tell(self, queue: QueueRef, messages: int) -> None:
        """Never waits, never fails."""
        if len(self._to_tell) <= QUEUES_AT_ONCE:
            self._to_tell[queue] = self._to_tell.get(queue, 0) + messages
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="sql hints")

    async def _tell(self) -> None:
        try:
            if self._after:
                await asyncio.sleep(self._after)
            while self._to_tell:
                queues, self._to_tell = self._to_tell, {}
                with suppress(Unavailable, SQLAlchemyError):  # then others look for themselves
                    await self._say(queues)
                await asyncio.sleep(TELL_EVERY)
        finally:
            self._telling = None

    async def close(self) -> None:
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=ANSWER_WITHIN)


class Notifications:
    """Hints by LISTEN and NOTIFY."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._node = secrets.token_hex(6)
        self._notifying = Statement(database, _NOTIFY)
        self._telling = Telling(self._say)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._telling.tell(queue, messages)

    async def close(self) -> None:
        await self._telling.close()

    async def _say(self, queues: Mapping[QueueRef, int]) -> None:
        await self._notifying.rows({"channel": CHANNEL, "payloads": packed(self._node, queues)})

    async def hear_others(self, hear: Hear) -> None:
        """Until cancelled. ``hear(None, 0)``: hints may have been lost, of any queue."""
        pause, was_heard = FIRST_PAUSE, True
        while True:
            hearing = Hearing(self._node, hear)
            try:
                async with self._database.connection_apart() as connection:
                    await hearing.subscribe(connection)
                    pause, was_heard = FIRST_PAUSE, True
                    hear(None, 0)
                    await hearing.stay(connection)
            except (SQLAlchemyError, OSError, TimeoutError, Unheard) as error:
                if was_heard:
                    reason = getattr(error, "orig", None) or error
                    log.warning(
                        "other nodes cannot be heard; who waits looks now and then",
                        extra={"reason": type(reason).__name__},
                    )
                was_heard = False
            hear(None, 0)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class Unheard(Exception):
    """The connection on which hints arrive has ended."""


class Hearing:
    """One connection on which hints arrive."""

    def __init__(self, node: str, hear: Hear) -> None:
        self._node = node
        self._hear = hear
        self._own_channel = f"{CHANNEL}_{node}"
        self._own = asyncio.Event()
        """What was said to oneself has arrived, or nothing will."""
        self._ended = asyncio.Event()

    async def subscribe(self, connection: AsyncConnection) -> None:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None, "a connection that is open has one"
        driver.add_termination_listener(self._end)
        async with asyncio.timeout(CONNECT_WITHIN):
            await driver.add_listener(CHANNEL, self._arrived)
            await driver.add_listener(self._own_channel, self._own_arrived)
        await self._probe(connection)

    async def stay(self, connection: AsyncConnection) -> None:
        """Until nothing arrives any more."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY):
                    await self._ended.wait()
            await self._probe(connection)

    async def _probe(self, connection: AsyncConnection) -> None:
        """Say something to oneself alone; raises when it does not arrive."""
        self._own.clear()
        async with asyncio.timeout(ANSWER_WITHIN):
            said = {"channel": self._own_channel, "payloads": [""]}
            await connection.execute(_NOTIFY, said)
            await self._own.wait()
        if self._ended.is_set():
            raise Unheard

    def _end(self, _connection: object) -> None:
        self._ended.set()
        self._own.set()

    def _own_arrived(self, *_: object) -> None:
        self._own.set()

    def _arrived(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        pass_on(payload, self._node, self._hear)


def pass_on(payload: str | bytes, own: str, hear: Hear) -> None:
    """Let a hint of another node be heard."""
    try:
        hint = _decode(payload)
    except msgspec.MsgspecError:
        return  # nobody's that we know
    if hint.node == own:
        return
    if not hint.queues:
        hear(None, 0)
    for project, name, messages in hint.queues:
        hear(QueueRef(project, name), messages)


def packed(node: str, queues: Mapping[QueueRef, int]) -> list[str]:
    """Hints of a size that the server takes; one for everybody when there is too much to say.

    In ASCII: a database need not be able to hold every character.
    """
    entries = [json.dumps([ref.project, ref.name, count]) for ref, count in queues.items()]
    if len(entries) > QUEUES_AT_ONCE or any(len(entry) > BYTES for entry in entries):
        return [_hint(node, [])]
    hints: list[str] = []
    together: list[str] = []
    room = BYTES
    for entry in entries:
        room -= len(entry) + len(",")
        if room < 0 and together:
            hints.append(_hint(node, together))
            together, room = [], BYTES - len(entry)
        together.append(entry)
    return [*hints, _hint(node, together)]


def _hint(node: str, entries: list[str]) -> str:
    return f'["{node}",[{",".join(entries)}]]'
