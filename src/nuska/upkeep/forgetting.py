"""Removes records that say nothing any more: shares and counts of projects that no longer call.

They are kept by project and written when one is busy, so that what projects long gone have left
would stay for ever. Whether a record is over is its own module's to say, by what stands in it and
the time, and never by what this process happens to remember. Nodes on one store may all walk:
only what is as it was read is removed (compare-and-set), and whoever makes use of a record that
has gone begins it anew. What cannot be read is left: a later version may have written it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

import msgspec

from nuska.core import ledgers, mail_quota, rate_shares
from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import RecordStore

IsOver = Callable[[bytes, Moment], bool]
"""Whether a record of this value says nothing any more; may raise what decoding raises."""

PASSING: Mapping[str, IsOver] = {
    rate_shares.RATE_SHARES: rate_shares.is_over,
    ledgers.USAGE: ledgers.is_over,
    mail_quota.MAIL_QUOTA: mail_quota.is_over,
}
"""By collection."""
WALK_EVERY = 600.0
"""Seconds between the end of a walk over all of them and the next; the first comes after one."""
PAGE = 100
PAUSE = 1.0
"""Seconds between two pages: requests come first."""

logger = logging.getLogger("nuska.upkeep")


class Forgetter:
    def __init__(
        self,
        records: RecordStore,
        clock: Clock,
        is_ours: Callable[[], bool] = lambda: True,
        passing: Mapping[str, IsOver] = PASSING,
    ) -> None:
        """``is_ours`` is asked before every walk: whether it is for this process to do."""
        self._records = records
        self._clock = clock
        self._is_ours = is_ours
        self._passing = passing

    async def run(self) -> None:
        """Walk again and again, until cancelled."""
        while True:
            await asyncio.sleep(WALK_EVERY)
            if not self._is_ours():
                continue
            try:
                removed = await self.walk()
                logger.debug("removed records of the past", extra={"records": removed})
            except Unavailable as error:
                logger.warning(
                    "cannot remove records of the past now", extra={"reason": error.description}
                )
            except Exception as error:
                logger.error("removing records of the past failed unexpectedly", exc_info=error)

    async def walk(self) -> int:
        """Look at every record once; how many were removed."""
        removed = 0
        for collection, is_over in self._passing.items():
            after = ""
            while page := await self._records.page(collection, after=after, limit=PAGE):
                now = self._clock.now()
                for record in page:
                    if _is_over(is_over, record.value, now):
                        removed += await self._records.remove(
                            collection, record.key, version=record.version
                        )
                if len(page) < PAGE:
                    break
                after = page[-1].key
                await asyncio.sleep(PAUSE)
        return removed


def _is_over(is_over: IsOver, value: bytes, now: Moment) -> bool:
    try:
        return is_over(value, now)
    except msgspec.MsgspecError:
        return False
