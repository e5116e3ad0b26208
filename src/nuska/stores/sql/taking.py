"""Takers: claims and pops of one queue, which must leave nothing behind that stands before what
they take (I8).

Where the server's takers pass over locked rows, each is a transaction beside the others. Where
they come in turn, those of a node that wait together are one transaction (D11), for the turn
lasts until the commit.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.stores.sql import locking
from nuska.stores.sql.choosing import make_due_ready
from nuska.stores.sql.database import Database
from nuska.stores.sql.line import Lines
from nuska.stores.sql.rows import QueueRow

T = TypeVar("T")

TURN_AT_MOST = 0.2
"""Seconds for which a transaction goes on to take for others too: on a slow server, or a busy
machine, many together would be too late for all of them, and keep other nodes waiting."""
Take = Callable[[AsyncConnection, QueueRow, Moment], Awaitable[T]]
"""What one of them does, once what was due stands in line. It may be called several times."""


class Taker(Struct, frozen=True):
    """Who stands in line."""

    take: Take[Any]
    now: Moment


class Takers:
    """Those of one node."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lines: Lines[QueueRef, Taker, Any] = Lines(self._perform)

    async def do(self, queue: QueueRef, take: Take[T], now: Moment) -> T | None:
        """What ``take`` answers; None when there is no such queue."""
        taker = Taker(take, now)
        if self._database.dialect.takes_in_turn:
            answer: T | None = await self._lines.stand(queue, taker)
            return answer
        [answer] = await self._perform(queue, [taker])
        return answer

    async def close(self) -> None:
        await self._lines.close()

    async def _perform(self, queue: QueueRef, group: Sequence[Taker]) -> list[Any]:
        time = asyncio.get_running_loop().time
        latest = max(taker.now for taker in group)

        async def work(connection: AsyncConnection) -> list[Any]:
            found = await locking.find_at(connection, self._database, queue, latest)
            if found is None:
                return [None for _ in group]
            row, moment = found
            if self._database.dialect.takes_in_turn:
                await locking.wait_for_turn(connection, row)
            moment = self._database.moment(moment)  # others went on while this one waited
            await make_due_ready(connection, row.generation, moment)
            answers: list[Any] = []
            until = time() + TURN_AT_MOST
            for taker in group:
                answers.append(await taker.take(connection, row, moment))
                if time() > until:
                    break
            return answers

        return await self._database.write(work)
