"""Ends transactions whose node died or stands still, so that their queues need not wait for it.

MongoDB keeps a transaction that nobody goes on with for ``transactionLifetimeLimitSeconds``, a
minute as delivered, and refuses every other one of that queue meanwhile. So who is refused for
a while looks twice at the transactions of all nodes, and ends those that did nothing between.
That is safe whoever is hit: a transaction that was ended changed nothing, and a node that
merely slept is told so when it goes on, and begins again.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from nuska.ending import ended
from nuska.stores.mongodb.connection import APPLICATION, Client
from nuska.stores.mongodb.records import Document

SUSPECT_AFTER = 0.15
"""Seconds of being in somebody's way, or somebody in ours, before anything is looked at."""
IDLE_FOR = 0.35
"""Seconds between the two looks; far more than a node lets pass between two statements."""
LOOK_WITHIN = 2.0
ENDED_AT_ONCE = 100
LOOK: list[Document] = [
    {"$currentOp": {"idleSessions": True, "allUsers": False}},
    {
        "$match": {
            "type": "idleSession",
            "appName": APPLICATION,
            "transaction.parameters.autocommit": False,
        }
    },
    {"$limit": ENDED_AT_ONCE},
]

log = logging.getLogger("nuska.stores.mongodb")

Seen = dict[tuple[Any, ...], Document]
"""Transactions by what changes when they go on, and their sessions."""


class Forsaken:
    """Looks when somebody suspects something; one look at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._looking: asyncio.Task[None] | None = None
        self.ended = 0

    def suspect(self) -> None:
        """Somebody waits longer than healthy nodes make each other wait."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_twice(), name="forsaken transactions")

    @contextmanager
    def suspected(self) -> Iterator[None]:
        """What is done in here should not take as long as ``SUSPECT_AFTER``."""
        timer = asyncio.get_running_loop().call_later(SUSPECT_AFTER, self.suspect)
        try:
            yield
        finally:
            timer.cancel()

    async def _look_twice(self) -> None:
        try:
            before = await self._look()
            if before:
                await asyncio.sleep(IDLE_FOR)
                still = await self._look()
                await self._end([still[one] for one in before.keys() & still.keys()])
        except PyMongoError as error:  # they end after transactionLifetimeLimitSeconds, then
            log.warning("cannot look for forsaken transactions", extra={"reason": str(error)})
        finally:
            self._looking = None

    async def _look(self) -> Seen:
        with pymongo.timeout(LOOK_WITHIN):
            cursor = await self._client.admin.aggregate(LOOK)
            return {_progress(one): one["lsid"] async for one in cursor}

    async def _end(self, sessions: list[Document]) -> None:
        if not sessions:
            return
        with pymongo.timeout(LOOK_WITHIN):
            await self._client.admin.command(
                "killSessions", [{"id": session["id"]} for session in sessions]
            )
        self.ended += len(sessions)
        log.warning(
            "ended transactions of a node that does not go on with them",
            extra={"transactions": len(sessions)},
        )

    async def close(self) -> None:
        if self._looking is not None:
            await ended(self._looking)


def _progress(operation: Document) -> tuple[Any, ...]:
    transaction = operation["transaction"]
    return (
        operation.get("shard"),
        bytes(operation["lsid"]["id"]),
        transaction["parameters"]["txnNumber"],
        transaction.get("timeActiveMicros"),
    )
