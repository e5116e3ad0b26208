"""How much mail a project may send in a day: a count in the store, the same for every node.

Counts addresses, not mails, by days of UTC, and before sending: who is stopped half-way by a
crash has used up what he has not sent, and never the other way round.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from nuska.core.quotas import QuotaBook
from nuska.domain.errors import Unavailable
from nuska.domain.moments import Duration, Moment
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, RecordStore

MAIL_QUOTA = "mail_quota"
"""The collection; keys are projects."""
ATTEMPTS = 20
"""How often a count is written again that somebody else has changed meanwhile."""
DAY: Duration = Duration(86_400_000)


class Used(Struct, frozen=True):
    day: int
    """Since 1970."""
    addresses: int


class MailQuota:
    def __init__(self, records: RecordStore, clock: Clock, book: QuotaBook) -> None:
        self._records = records
        self._clock = clock
        self._book = book

    async def take(self, project: str, addresses: int) -> Duration | None:
        """Count ``addresses``; None when they are within the quota, else, and nothing counted,
        how long until the next day."""
        limit = self._book.of(project).mails_per_day
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            record = await self._records.get(MAIL_QUOTA, project)
            today = now // DAY
            used = Used(today, 0)
            if record is not None:
                stored = msgspec.json.decode(record.value, type=Used)
                # A node whose day is older counts on the newer one's page.
                used = stored if stored.day >= today else used
            if limit is not None and used.addresses + addresses > limit:
                self._book.count_refusal("mails_per_day", project)
                return Duration(Moment((used.day + 1) * DAY) - now)
            counted = msgspec.json.encode(Used(used.day, used.addresses + addresses))
            version = ABSENT if record is None else record.version
            if await self._records.put(MAIL_QUOTA, project, counted, version=version):
                return None
        raise Unavailable("The count of mail keeps changing.")

    async def use(self, project: str) -> Mapping[str, int]:
        """Implements ``Meter``: addresses so far, of the day."""
        record = await self._records.get(MAIL_QUOTA, project)
        used = None if record is None else msgspec.json.decode(record.value, type=Used)
        if used is None or used.day < self._clock.now() // DAY:
            return {"mails_per_day": 0}
        return {"mails_per_day": used.addresses}


def is_over(value: bytes, now: Moment) -> bool:
    """Whether this count is of a day that is over on every node."""
    return msgspec.json.decode(value, type=Used).day + 1 < now // DAY
