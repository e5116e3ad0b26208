"""Hints between the nodes of a database that carries none: a small table that every node reads
again and again, less often while nothing is said (D13).

The table lives in the server's memory, so a hint costs no sync to disk and none outlives a
restart; its numbers follow one another, so a node sees when it has missed one. A hint that is
lost costs time and nothing else.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Hear
from nuska.stores.sql.database import Database
from nuska.stores.sql.hints import FIRST_PAUSE, LONGEST_PAUSE, Telling, packed, pass_on
from nuska.stores.sql.statements import Statement

SHORTEST_LOOK = 0.01
LONGEST_LOOK = 0.2
"""Seconds between two looks at the table; twice as many after each that finds nothing."""
KEPT = 256
"""Hints in the table; a node that falls behind by more has missed some, and knows it."""
FORGET_EVERY = 64
"""Hints of a node after which it clears away old ones."""

_SAY = "INSERT INTO hints (payload) VALUES (%s)"
_FORGET = "DELETE FROM hints WHERE id <= %s"
_NEWEST = text("SELECT id, payload FROM hints ORDER BY id DESC LIMIT 1")
_SINCE = text("SELECT id, payload FROM hints WHERE id >= :last ORDER BY id LIMIT :most")

Said = tuple[int, Any]
"""A hint's number and what it says."""
NOTHING_SAID: Said = (0, None)

log = logging.getLogger("nuska.stores.sql")


class Polling:
    """``Hints`` by a table."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._node = secrets.token_hex(6)
        self._said = 0
        self._telling = Telling(self._say, after=SHORTEST_LOOK / 2)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._telling.tell(queue, messages)

    async def close(self) -> None:
        await self._telling.close()

    async def _say(self, queues: Mapping[QueueRef, int]) -> None:
        async def work(connection: Any) -> None:
            async with connection.cursor() as cursor:
                for payload in packed(self._node, queues):
                    await cursor.execute(_SAY, (payload.encode(),))
                    if self._said % FORGET_EVERY == 0:
                        await cursor.execute(_FORGET, (cursor.lastrowid - KEPT,))
                    self._said += 1

        await self._database.do_bare(work)

    async def hear_others(self, hear: Hear) -> None:
        """Until cancelled. ``hear(None, 0)``: hints may have been lost, of any queue."""
        hearing, pause = _Hearing(self._database, self._node, hear), FIRST_PAUSE
        while True:
            try:
                await hearing.begin()
                pause = FIRST_PAUSE
                await hearing.follow()
            except Unavailable as error:
                if pause == FIRST_PAUSE:
                    log.warning(
                        "other nodes cannot be heard; who waits looks now and then",
                        extra={"reason": type(error.__cause__).__name__},
                    )
            hear(None, 0)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class _Hearing:
    """Reads on from the last hint that it has seen."""

    def __init__(self, database: Database, node: str, hear: Hear) -> None:
        self._newest = Statement(database, _NEWEST)
        self._since = Statement(database, _SINCE)
        self._node = node
        self._hear = hear
        self._last = NOTHING_SAID

    async def begin(self) -> None:
        newest = await self._newest.rows({})
        self._last = _hint(newest[0]) if newest else NOTHING_SAID
        self._hear(None, 0)

    async def follow(self) -> None:
        """Until the server cannot be asked."""
        pause = SHORTEST_LOOK
        while True:
            await asyncio.sleep(pause)
            found = await self._since.rows({"last": self._last[0], "most": KEPT})
            if self._pass_on([_hint(row) for row in found]):
                pause = SHORTEST_LOOK
            else:
                pause = min(2 * pause, LONGEST_LOOK)

    def _pass_on(self, found: Sequence[Said]) -> bool:
        """Whether anything was said. ``found`` begins with the last hint that we have seen: the
        newest ones are kept. Else the server began a new table when it was started again, and
        counts from one, or we fell behind."""
        was_lost = self._last != NOTHING_SAID and self._last not in found[:1]
        news = [hint for hint in found if hint != self._last]
        if was_lost or (news and news[0][0] != self._last[0] + 1):
            self._hear(None, 0)
        if was_lost or news:
            self._last = found[-1] if found else NOTHING_SAID
        for _, payload in news:
            pass_on(payload, self._node, self._hear)
        return bool(news)


def _hint(row: Any) -> Said:
    return int(row.id), row.payload
