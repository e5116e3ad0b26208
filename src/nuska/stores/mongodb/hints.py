"""Hints between the nodes of a store that a queue may have something for those who wait (D13).

They travel through ``hints``, a capped collection that is followed to its end. A change stream
on the records would read every write of every queue, for each node, to find the few that
matter. What a node has to say while a hint is on its way goes out together, and no write waits
for it. A hint is never the truth: one that is lost costs time and nothing else. While nothing
can be heard, those who wait are woken now and then to look for themselves.
"""

import asyncio
import logging
import secrets
from contextlib import suppress
from typing import Any

import pymongo
from bson import ObjectId
from bson.errors import BSONError
from pymongo import CursorType
from pymongo.errors import CollectionInvalid, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Hear
from nuska.stores.mongodb.connection import ANSWER_WITHIN, Collection, Connection
from nuska.stores.mongodb.records import Document

NAME = "hints"
KEPT_BYTES = 1024 * 1024
"""What a node that reads slowly may be behind; then it is told that it missed something."""
QUEUES_AT_ONCE = 1000
"""In one hint; when there is more to tell, it is for everybody."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between looks for oneself while nothing can be heard."""
ANSWERED_EVERY_MS = 2_000
"""The server says at least this often that there is nothing new."""
SILENT_FOR = ANSWERED_EVERY_MS / 1000 + ANSWER_WITHIN
"""Seconds after which a connection that says nothing is thought to be cut."""
NAMESPACE_EXISTS = 48

log = logging.getLogger("nuska.stores.mongodb")


class Hints:
    """Tells other nodes and hears them."""

    def __init__(self, connection: Connection) -> None:
        # Nothing is lost with a hint, so nobody waits for its journey to a majority.
        self._hints: Collection = connection.about.database.get_collection(
            NAME, write_concern=WriteConcern(w=1), read_concern=ReadConcern("local")
        )
        self._node = secrets.token_hex(6)
        self._to_tell: dict[QueueRef, int] = {}
        self._telling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the collection if it is not there; an empty one cannot be followed."""
        try:
            await self._hints.database.create_collection(
                NAME, capped=True, size=KEPT_BYTES, check_exists=False
            )
        except CollectionInvalid:
            return
        except OperationFailure as refusal:
            if refusal.code != NAMESPACE_EXISTS:
                raise
            return
        await self._hints.insert_one(self._hint({}))

    def tell(self, queue: QueueRef, messages: int) -> None:
        """Never waits, never fails."""
        if len(self._to_tell) <= QUEUES_AT_ONCE:
            self._to_tell[queue] = self._to_tell.get(queue, 0) + messages
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell(), name="mongodb hints")

    async def _tell(self) -> None:
        try:
            while self._to_tell:
                queues, self._to_tell = self._to_tell, {}
                hint = self._hint({} if len(queues) > QUEUES_AT_ONCE else queues)
                with suppress(PyMongoError, BSONError), pymongo.timeout(ANSWER_WITHIN):
                    await self._hints.insert_one(hint)  # else others look for themselves
        finally:
            self._telling = None

    def _hint(self, queues: dict[QueueRef, int]) -> Document:
        """Who says it, and of which queues; of none means of any."""
        told = [[queue.project, queue.name, messages] for queue, messages in queues.items()]
        return {"_id": ObjectId(), "node": self._node, "queues": told}

    async def hear_others(self, hear: Hear) -> None:
        """Until cancelled. ``hear(None, 0)``: hints may have been lost, of any queue."""
        pause, was_heard = FIRST_PAUSE, True
        while True:
            try:
                cursor = self._hints.find(cursor_type=CursorType.TAILABLE_AWAIT)
                cursor = cursor.max_await_time_ms(ANSWERED_EVERY_MS)
                try:
                    async with asyncio.timeout(SILENT_FOR) as silence:
                        while cursor.alive:
                            await self._hear_some(cursor, hear, silence)
                            pause, was_heard = FIRST_PAUSE, True
                finally:
                    await cursor.close()
            except (PyMongoError, OSError) as error:  # TimeoutError is an OSError
                if was_heard:
                    log.warning(
                        "other nodes cannot be heard; who waits looks now and then",
                        extra={"reason": type(error).__name__},
                    )
                was_heard = False
            hear(None, 0)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _hear_some(self, cursor: Any, hear: Hear, silence: asyncio.Timeout) -> None:
        """Until there is nothing new for a while.

        Whoever begins hears old hints too, which wake somebody without reason, once.
        """
        loop = asyncio.get_running_loop()
        async for hint in cursor:
            self._pass_on(hint, hear)
            silence.reschedule(loop.time() + SILENT_FOR)
        silence.reschedule(loop.time() + SILENT_FOR)

    def _pass_on(self, hint: Document, hear: Hear) -> None:
        if hint.get("node") == self._node:
            return
        told = hint.get("queues")
        if not told:
            hear(None, 0)
            return
        for project, name, messages in told:
            hear(QueueRef(project, name), messages)

    async def close(self) -> None:
        if self._telling is not None:
            await asyncio.wait([self._telling], timeout=ANSWER_WITHIN)
