"""Keeps announcement logs open for those who listen now, and decides with those who carry
notifications out what may be dropped from them.

One record for each queue that somebody listens to, or did a while ago, on any node. It says until
when the log is kept, so that the listening of a node that died ends by itself, and where the log
begins: what stands above that was never dropped while it was alive. That is written before
anything is dropped, so who asks afterwards whether something is missing is told the truth.

While a queue has subscriptions it is the delivery engine that trims and closes its log; it asks
``spare`` and ``is_kept``. Else whoever listens trims, and anybody closes. All of it is hints but
for compare-and-set and the version of the log: who comes too late changes nothing.
"""

import asyncio

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.errors import Unavailable
from nuska.domain.internal import SEPARATOR, key_of
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.records import ABSENT, Record
from nuska.interfaces.storage import RandomBytes

LISTENED = "listened"
RENEWED_BEFORE: Duration = seconds(60)
"""A record says so much more than has to be kept, and is renewed when that is used up."""
PAGE = 200
TRIES = 20
LONGEST_PAUSE = 0.05
"""Seconds between two tries, at most: nodes that begin together get out of step."""
TRIMS_AT_ONCE = 100


class Listened(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a queue's log is kept for those who listen."""

    until: Moment
    begins: Position | None = None
    """Nothing above this was dropped; None while the log is being opened."""
    settled: Moment = Moment(0)
    """What was delayed and became due up to this moment may have been dropped."""
    given: Position = BEFORE_ALL
    """Nobody who listens needs what stands at or below this."""
    closing: bool = False
    """It was over when somebody looked, who closes the log now."""
    purged: Moment = Moment(0)
    """When the subscriptions of connections were removed last, everybody's on every node."""


class Kept(Struct, frozen=True):
    """A log that is open, and kept for those who listen."""

    begins: Position
    settled: Moment
    last: Position
    """Everything posted later stands above this."""
    more: bool = False
    """There is more to do for it, soon."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Listened).decode


class LiveLogs:
    def __init__(
        self, store: SubscribableStore, clock: Clock, random_bytes: RandomBytes, kept: Duration
    ) -> None:
        self._records = store.records
        self._logs = store.announcements
        self._subscriptions = SubscriptionRecords(store.records)
        self._clock = clock
        self._random_bytes = random_bytes
        self._kept = kept

    async def keep(self, queue: QueueRef) -> Kept:
        """Have the log open, and kept from now on. Several steps."""
        for _ in range(TRIES):
            now = self._clock.now()
            record = await self._records.get(LISTENED, _key(queue))
            seen = None if record is None else _decode(record.value)
            if record is not None and seen is not None:
                kept = await self._go_on(queue, record, seen, now)
                if kept is not None:
                    return kept
            version = ABSENT if record is None else record.version
            purged = Moment(0) if seen is None else seen.purged
            kept = await self._open(queue, version, now, purged)
            if kept is not None:
                return kept
            await asyncio.sleep(LONGEST_PAUSE * self._random_bytes(1)[0] / 255)
        raise Unavailable("Too many begin to listen to this queue at once.")

    async def _go_on(
        self, queue: QueueRef, record: Record, seen: Listened, now: Moment
    ) -> Kept | None:
        """The log as it is, if it is kept; the record says so for long enough afterwards."""
        if seen.begins is None or seen.closing:
            return None
        log = await self._logs.state(queue, now=now)
        if log is None:
            return None
        if seen.until < after(now, self._kept):
            renewed = self._renewed(seen, now)
            if await self._put(queue, renewed, record.version) is None:
                return None
        return Kept(seen.begins, seen.settled, log.last)

    async def _open(
        self, queue: QueueRef, version: str, now: Moment, purged: Moment
    ) -> Kept | None:
        """Open a log that is kept for nobody; None when somebody else does something with it."""
        opening = self._renewed(Listened(until=Moment(0), purged=purged), now)
        written = await self._put(queue, opening, version)
        if written is None:
            return None
        # After the record: whoever closed the log for want of one did so before, or cannot.
        opened = await self._logs.open(queue, now=now)
        log = await self._logs.state(queue, now=now)
        # Stores may put the end of a log further on when they open it than afterwards. Whoever
        # begins at the lower end misses nothing: nothing stands between the two.
        begins = opened.last if log is None else min(opened.last, log.last)
        if await self._put(queue, replace(opening, begins=begins), written) is None:
            return None
        return Kept(begins, opening.settled, opened.last if log is None else log.last)

    async def renew(self, queue: QueueRef, *, given: Position, settled: Moment) -> Kept:
        """Keep it on; nobody here needs what stands up to ``given``, where nothing is delayed
        that became due after ``settled``. Drops it unless the queue has subscriptions."""
        now = self._clock.now()
        record = await self._records.get(LISTENED, _key(queue))
        seen = None if record is None else _decode(record.value)
        log = await self._logs.state(queue, now=now)
        if record is None or seen is None or seen.begins is None or seen.closing or log is None:
            return await self.keep(queue)
        changed = seen
        if seen.until < after(now, self._kept):
            changed = self._renewed(changed, now)
        if given > seen.given:
            changed = replace(changed, given=given, settled=max(seen.settled, settled))
        begins, trims = seen.begins, changed.given > BEFORE_ALL
        if trims and await self._subscriptions.followed(queue) is not None:
            trims = False
        if trims:
            begins = max(begins, changed.given)
            changed = replace(changed, begins=begins)
        if changed != seen and await self._put(queue, changed, record.version) is None:
            return Kept(seen.begins, seen.settled, log.last, more=True)
        more = trims and given > BEFORE_ALL and await self._trim(queue, begins, now)
        return Kept(begins, changed.settled, log.last, more=more)

    async def _trim(self, queue: QueueRef, through: Position, now: Moment) -> bool:
        """Drop what the record says is dropped; whether there may be more of it."""
        for _ in range(TRIMS_AT_ONCE):
            if not await self._logs.trim(queue, through=through, now=now):
                return False
        return True

    async def begins(self, queue: QueueRef) -> tuple[Position, Moment] | None:
        """Above what nothing was dropped up to now, and ``settled``; None when that is unknown."""
        record = await self._records.get(LISTENED, _key(queue))
        seen = None if record is None else _decode(record.value)
        if seen is None or seen.begins is None or seen.closing:
            return None
        return seen.begins, seen.settled

    # Subscriptions of connections, which no store knows

    async def purge(self, queue: QueueRef) -> None:
        """Note that those there are now are over, on whatever node."""
        for _ in range(TRIES):
            record = await self._records.get(LISTENED, _key(queue))
            if record is None:
                return  # nobody has listened for a while
            seen = _decode(record.value)
            # Later than the one before, also by the clock of a node that is behind.
            purged = Moment(max(self._clock.now(), seen.purged + 1))
            if await self._put(queue, replace(seen, purged=purged), record.version) is not None:
                return
            await asyncio.sleep(LONGEST_PAUSE * self._random_bytes(1)[0] / 255)
        raise Unavailable("Too many begin to listen to this queue at once.")

    async def purged(self, queue: QueueRef) -> Moment:
        """When that was noted last; those that began to listen later are not meant."""
        record = await self._records.get(LISTENED, _key(queue))
        return Moment(0) if record is None else _decode(record.value).purged

    # For those who carry notifications out

    async def spare(self, queue: QueueRef, through: Position) -> Position:
        """Up to where, and no further than ``through``, the log may be trimmed now."""
        record = await self._records.get(LISTENED, _key(queue))
        seen = None if record is None else _decode(record.value)
        if record is None or seen is None or seen.closing:
            return through
        through = min(through, seen.given)
        if seen.begins is None:
            return BEFORE_ALL
        if through > seen.begins:
            changed = replace(seen, begins=through)
            if await self._put(queue, changed, record.version) is None:
                return BEFORE_ALL
        return through

    async def is_kept(self, queue: QueueRef) -> bool:
        """Whether the log is not to be closed, though nobody has subscribed."""
        record = await self._records.get(LISTENED, _key(queue))
        return record is not None and not _decode(record.value).closing

    # For upkeep

    async def close_over(self) -> int:
        """Close the logs that nobody has listened to for a while; how many."""
        closed, last = 0, ""
        while page := await self._records.page(LISTENED, after=last, limit=PAGE):
            for record in page:
                if _decode(record.value).until <= self._clock.now():
                    closed += await self._close(record)
            last = page[-1].key
            if len(page) < PAGE:
                break
        return closed

    async def _close(self, record: Record) -> bool:
        queue, now = _queue_of(record), self._clock.now()
        log = await self._logs.state(queue, now=now)
        closing = replace(_decode(record.value), closing=True)
        written = await self._put(queue, closing, record.version)
        if written is None:
            return False
        if log is not None and await self._subscriptions.followed(queue) is None:
            await self._logs.close(queue, version=log.version, now=now)
        return await self._records.remove(LISTENED, record.key, version=written)

    def _renewed(self, seen: Listened, now: Moment) -> Listened:
        return replace(seen, until=after(after(now, self._kept), RENEWED_BEFORE))

    async def _put(self, queue: QueueRef, listened: Listened, version: str) -> str | None:
        return await self._records.put(LISTENED, _key(queue), _encode(listened), version=version)


def _key(queue: QueueRef) -> str:
    return key_of(queue.project, queue.name)


def _queue_of(record: Record) -> QueueRef:
    """A topic's project has separators in itself, a name never has."""
    project, _, name = record.key.rpartition(SEPARATOR)
    return QueueRef(project, name)
