"""How often anybody is sent a letter that he has not asked for: counted in the store, the same
for every node, and by who gets it: making and removing subscriptions in a loop changes nothing.

Counts before sending: who is stopped by a crash in between has used up what he has not sent, and
never the other way round. What is over is removed by whoever sends the next letters.
"""

from hashlib import sha256

import msgspec
from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.domain.internal import key_of
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.subscribers import recipients
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, Record, RecordStore

LETTERS = "letters"
"""The collection; keys are the project and a digest of who gets the letter."""
BETWEEN_LETTERS = seconds(60)
"""Of one type, to one subscriber of a project."""
LETTERS_PER_DAY = 20
"""Of any type, to one subscriber of a project, in a day of UTC."""
DAY = Duration(86_400_000)
TRIES = 20
"""How often a count is written again that somebody else has changed meanwhile."""
TIDIED = 4
"""Counts that each letter looks at, to remove those that are over."""


class Sent(Struct, frozen=True):
    """What one has been sent lately by one project."""

    day: int
    """Since 1970."""
    count: int = 0
    """On that day."""
    again: dict[str, Moment] = {}
    """From when each type may be sent once more."""


class LetterBounds:
    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def take(self, project: str, subscriber: str, type_: str) -> Moment | None:
        """Count a letter; None when it may be sent, else, and nothing counted, from when on."""
        keys = [key_of(project, _digest(each)) for each in _addressees(subscriber)]
        now = self._clock.now()
        waits = [_wait(await self._records.get(LETTERS, key), type_, now) for key in keys]
        if max(waits) > now:
            return max(waits)
        for key in keys:
            refused = await self._count(key, type_)
            if refused is not None:
                return refused
        await self._tidy(keys[0])
        return None

    async def _count(self, key: str, type_: str) -> Moment | None:
        for _ in range(TRIES):
            now = self._clock.now()
            record = await self._records.get(LETTERS, key)
            wait = _wait(record, type_, now)
            if wait > now:
                return wait
            before = _sent(record, now)
            sent = Sent(
                before.day,
                before.count + 1,
                {**before.again, type_: after(now, BETWEEN_LETTERS)},
            )
            version = ABSENT if record is None else record.version
            value = msgspec.json.encode(sent)
            if await self._records.put(LETTERS, key, value, version=version):
                return None
        raise Unavailable("The count of letters keeps changing.")

    async def _tidy(self, key: str) -> None:
        """Remove some counts that are over. Keys are digests: in the end all have their turn."""
        now = self._clock.now()
        page = await self._records.page(LETTERS, after=key, limit=TIDIED)
        if len(page) < TIDIED:
            page += await self._records.page(LETTERS, before=key, limit=TIDIED - len(page))
        for record in page:
            sent = msgspec.json.decode(record.value, type=Sent)
            if sent.day < now // DAY and max(sent.again.values(), default=Moment(0)) <= now:
                await self._records.remove(LETTERS, record.key, version=record.version)


def _sent(record: Record | None, now: Moment) -> Sent:
    today = now // DAY
    if record is None:
        return Sent(today)
    stored = msgspec.json.decode(record.value, type=Sent)
    # A node whose day is older counts on the newer one's page.
    return stored if stored.day >= today else Sent(today, 0, stored.again)


def _wait(record: Record | None, type_: str, now: Moment) -> Moment:
    sent = _sent(record, now)
    again = sent.again.get(type_, Moment(0))
    if sent.count >= LETTERS_PER_DAY:
        again = max(again, Moment((sent.day + 1) * DAY))
    return again


def _addressees(subscriber: str) -> list[str]:
    """Who gets what is sent to the subscriber: of mail every address, whatever else the
    subscriber says."""
    if not subscriber.lower().startswith("mailto:"):
        return [subscriber]
    found = set()
    for address in recipients(subscriber):
        name, _, domain = address.rpartition("@")
        found.add(f"mailto:{name}@{domain.lower()}")
    return sorted(found) or [subscriber]


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
