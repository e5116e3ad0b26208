"""What nodes that died left lying: fenced remains, unfinished deletions, letters in boxes.

Done a little at a time beside sweeping; doing it on several nodes at once is harmless.
"""

import asyncio
import logging
from contextlib import suppress

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration
from nuska.domain.pools import OWN
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import Record
from nuska.stores.pooled.catalogue import REMAINS, Remains
from nuska.stores.pooled.letters import Letters
from nuska.stores.pooled.placing import Placing

REMAINS_KEPT = Duration(60_000)
"""How long a queue stays fenced where it was: far longer than a pin is kept in memory."""
LOOK_EVERY = 1.0
"""Seconds between steps."""
OLDEST_PER_STEP = 500
OTHERS_PER_STEP = 100

logger = logging.getLogger("nuska.stores.pooled")


class Clearing:
    """One small step at a time."""

    def __init__(self, placing: Placing, letters: Letters, clock: Clock) -> None:
        self._placing = placing
        self._letters = letters
        self._clock = clock
        self._boxes_after = ""
        self._remains_after = ""
        self._next = 0.0

    async def step(self) -> bool:
        """Do a step if one is due; whether it was. Never raises ``Unavailable``: the next step
        goes on."""
        now = asyncio.get_running_loop().time()
        if now < self._next:
            return False
        self._next = now + LOOK_EVERY
        try:
            await self._look_at_remains()
            self._boxes_after = await self._letters.carry_some(self._boxes_after)
        except Unavailable as error:
            logger.warning("cannot clear up now", extra={"reason": error.description})
        return True

    async def _look_at_remains(self) -> None:
        """Some of the oldest, which may be cleared away, and some of the others in turn, whose
        deletion somebody may have left half done. Their keys begin with the time."""
        oldest = await self._placing.catalogue.remains(after="", limit=OLDEST_PER_STEP)
        others = await self._placing.catalogue.remains(
            after=self._remains_after, limit=OTHERS_PER_STEP
        )
        self._remains_after = others[-1][0].key if len(others) == OTHERS_PER_STEP else ""
        for record, remains in {one[0].key: one for one in [*oldest, *others]}.values():
            await self._clear_if_up(record, remains)

    async def _clear_if_up(self, record: Record, remains: Remains) -> None:
        with suppress(Unavailable):  # its pool is down; the others do not wait for it
            await self._clear(record, remains)

    async def _clear(self, record: Record, remains: Remains) -> None:
        queue = QueueRef(remains.project, remains.name)
        now = self._clock.now()
        seen = await self._placing.catalogue.pin(queue)
        if seen is not None and seen.pin.state != "open" and seen.pin.until <= now:
            await self._placing.pin(queue)  # finishes what was begun
            seen = await self._placing.catalogue.pin(queue)
        if now < remains.since + REMAINS_KEPT:
            return
        if seen is not None and remains.pool in (seen.pin.pool, seen.pin.target):
            if seen.pin.state == "open":
                await self._done_with(record)  # it has come back, or never left
            return
        pools = await self._placing.pools.known()
        if remains.pool == OWN or remains.pool in pools:
            store = await self._placing.pools.store(remains.pool)
            await store.transfers.forget(queue, epoch=remains.epoch, now=now)
        await self._done_with(record)

    async def _done_with(self, record: Record) -> None:
        records = self._placing.catalogue.records
        await records.remove(REMAINS, record.key, version=record.version)
