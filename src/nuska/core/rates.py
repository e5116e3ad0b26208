"""How fast projects go: a bucket in memory for each project and rate, and a look at it per call.

A bucket holds a second's worth, and is filled at the rate. Where nodes share a store, each has
the share of the rate that it has leased (``core/rate_shares.py``), so a call waits for the store
only when it is the first of its project in a while, or could be let in with a larger share. When
the store does not answer, a node goes on with what it had. When each share is renewed is known in
``core/rate_rounds.py``.

Counts calls whose sender is known. Whoever is refused before has not been anybody's.
"""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import suppress
from math import ceil, inf

from nuska.core.quotas import QuotaBook
from nuska.core.rate_buckets import Bucket, holds
from nuska.core.rate_rounds import Rounds
from nuska.core.rate_shares import LEASE, LEAST, WHOLE, RateShares, Shares
from nuska.domain.errors import RateExceeded, Unavailable
from nuska.domain.moments import Moment
from nuska.domain.quotas import RATES, Limit, Quota
from nuska.interfaces.clock import Clock

REQUEST, MESSAGE = range(len(RATES))
MAX_PROJECTS = 50_000
"""Whose buckets are kept at a time; then the one known longest is forgotten, and begins anew."""
LEASED_WITHIN = 1.0
"""Seconds that a call waits for a share; then it makes do with the least."""
AGAIN_AFTER = 50
"""Milliseconds until a share that is too small is looked at again, before its time."""
AGAIN_AFTER_NOTHING = 500
"""The same, when the last look brought nothing."""
LOOKED_AT_FOR = LEASE / 1000
"""Seconds for which the store may take with one project: a lease would be over by then."""
LONGEST_WAIT = 60
"""Seconds that a client is told to wait, at most."""
FOR_EVER = Moment(2**62)

logger = logging.getLogger("nuska.quotas")


class _Project:
    """What a node knows of a project that calls."""

    __slots__ = ("again_at", "buckets", "cut_off", "quota", "renewed", "shares", "until", "used")

    def __init__(self, quota: Quota) -> None:
        self.quota = quota
        """By which the buckets were filled so far."""
        self.buckets: tuple[Bucket, ...] = ()
        """Empty before there is a share."""
        self.shares: Shares = ()
        self.until = Moment(0)
        """How long the shares are good."""
        self.cut_off = False
        """The store could not be asked: the shares are good until it can."""
        self.used = True
        """It has called since its share was renewed."""
        self.again_at = Moment(0)
        """When the share may be looked at again before its time."""
        self.renewed: asyncio.Event | None = None
        """Somebody waits for the next renewal."""

    def has_share(self, now: Moment) -> bool:
        return self.until > now or (self.cut_off and bool(self.buckets))


class Rates:
    def __init__(self, book: QuotaBook, clock: Clock, shares: RateShares | None = None) -> None:
        """``shares``: where nodes share a store; whoever runs the process then runs ``run``."""
        self._book = book
        self._clock = clock
        self._shares = shares
        self._projects: dict[str, _Project] = {}
        self._rounds = Rounds(self._projects.keys(), self._look_at)
        self.failures = 0
        """Renewals that did not come about."""

    @property
    def projects(self) -> int:
        """How many are limited, and call."""
        return len(self._projects)

    def asked(self) -> Iterator[tuple[str, str, float]]:
        """For metrics: projects, the limits of theirs that are rates, and about how much is asked
        of this node in a second."""
        try:
            now = self._clock.now()
        except Unavailable:  # the time is the store's, and not known now
            return
        for project, found in self._projects.items():
            limits = _limits(found.quota)
            for name, bucket, limit in zip(RATES, found.buckets, limits, strict=False):
                if limit is not None:
                    yield project, name, bucket.asked(now)

    def request(self, project: str) -> Awaitable[None] | None:
        """Count one call of a project. Raises ``RateExceeded`` when it is one too many;
        awaitable only when that has to be found out first."""
        if not self._book.limits_rates:
            return None
        quota = self._book.of(project)
        limit = quota.requests_per_second
        if limit is None and quota.messages_per_second is None:
            return None
        now = self._clock.now()
        found = self._projects.get(project) or self._begin(project, quota, now)
        if found.quota is not quota:
            _change(found, quota, now)
        if not found.has_share(now):
            return self._request_later(project, found, limit)
        if limit is None:
            found.used = True
            return None
        wait = self._take(project, found, REQUEST, limit, 1, now)
        if wait is None:
            return None
        if found.renewed is not None:  # a larger share may be on its way
            return self._request_later(project, found, limit)
        raise self._refusal(project, REQUEST, limit, wait)

    def messages(self, project: str, count: int) -> None:
        """Count messages that are about to be posted, after the call that posts them. Raises
        ``RateExceeded`` when they are too many, and then counts none."""
        if not self._book.limits_rates:
            return
        quota = self._book.of(project)
        limit = quota.messages_per_second
        if limit is None:
            return
        now = self._clock.now()
        found = self._projects.get(project)
        if found is None or not found.buckets:
            found = self._make_do(project, now)
        if found.quota is not quota:
            _change(found, quota, now)
        wait = self._take(project, found, MESSAGE, limit, count, now)
        if wait is not None:
            raise self._refusal(project, MESSAGE, limit, wait)

    async def use(self, project: str) -> Mapping[str, int]:
        """Implements ``Meter``: about how much is asked for in a second, of all nodes."""
        now = self._clock.now()
        quota, found = self._book.of(project), self._projects.get(project)
        asked = [0.0] * len(RATES)
        if found is not None and found.buckets:
            asked = [bucket.asked(now) for bucket in found.buckets]
        limits = _limits(quota)
        if self._shares is not None and any(limit is not None for limit in limits):
            others = await self._shares.asked_of_others(project)
            asked = [
                own + (0 if limit is None else other * limit)
                for own, other, limit in zip(asked, others, limits, strict=True)
            ]
        return {
            name: ceil(number)
            for name, number, limit in zip(RATES, asked, limits, strict=True)
            if limit is not None
        }

    async def run(self) -> None:
        """Renew shares, and forget who does not call any more, until cancelled."""
        await self._rounds.run()

    async def look(self, *, hurried_only: bool = False) -> None:
        """Renew shares: of all projects, or of those that need more now."""
        await self._rounds.look(hurried_only=hurried_only)

    # What a call needs

    def _take(
        self, project: str, found: _Project, rate: int, limit: int, count: int, now: Moment
    ) -> float | None:
        found.used = True
        share = found.shares[rate]
        if found.until <= now and not found.has_share(now):
            share = min(share, LEAST)  # others may have it by now
        allowed = limit * share
        bucket = found.buckets[rate]
        wait = bucket.take(allowed, count, now)
        if (
            share < 1
            and now >= found.again_at
            and (wait is not None or bucket.level(allowed, now) < holds(allowed) / 2)
        ):
            self._hurry(project, found)  # for more, before there is nothing left
        return wait

    def _refusal(self, project: str, rate: int, limit: int, wait: float) -> RateExceeded:
        self._book.count_refusal(RATES[rate], project)
        retry_after = min(max(1, ceil(wait)), LONGEST_WAIT)
        return RateExceeded(RATES[rate], limit, retry_after=retry_after)

    def _begin(self, project: str, quota: Quota, now: Moment) -> _Project:
        if len(self._projects) >= MAX_PROJECTS:
            del self._projects[next(iter(self._projects))]
        found = self._projects[project] = _Project(quota)
        self._rounds.begin()
        if self._shares is None:
            found.shares, found.until = WHOLE, FOR_EVER
            found.buckets = _filled(quota, WHOLE, now)
        return found

    def _make_do(self, project: str, now: Moment) -> _Project:
        """Go on with the least that every node may have."""
        quota = self._book.of(project)
        found = self._projects.get(project) or self._begin(project, quota, now)
        if not found.buckets:
            found.shares = (LEAST,) * len(RATES)
            found.buckets = _filled(quota, found.shares, now)
        return found

    def _hurry(self, project: str, found: _Project) -> None:
        if found.renewed is None:
            found.renewed = asyncio.Event()
        self._rounds.hurry(project)

    async def _request_later(self, project: str, found: _Project, limit: Limit) -> None:
        self._hurry(project, found)
        assert found.renewed is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(LEASED_WITHIN):
                await found.renewed.wait()
        now = self._clock.now()
        found = self._make_do(project, now)
        if limit is None:
            return
        wait = self._take(project, found, REQUEST, limit, 1, now)
        if wait is not None:
            raise self._refusal(project, REQUEST, limit, wait)

    # What is done beside

    async def _look_at(self, project: str) -> None:
        found = self._projects.get(project)
        if found is None:
            return
        try:
            async with asyncio.timeout(LOOKED_AT_FOR):
                await self._renew_or_leave(project, found)
        except (Unavailable, TimeoutError):
            self._fail(found)
        except Exception as error:
            self._fail(found)
            logger.error("sharing a rate failed unexpectedly", exc_info=error)
        finally:
            if found.renewed is not None:
                found.renewed.set()
                found.renewed = None

    async def _renew_or_leave(self, project: str, found: _Project) -> None:
        is_over = self._is_over(found, project)
        if is_over and self._shares is not None:
            found.until, found.cut_off = Moment(0), False  # who calls now waits for a new share
            await self._shares.leave(project)
            is_over = found.renewed is None
        if is_over:
            self._projects.pop(project, None)
        elif self._shares is not None:
            await self._renew(project, found, self._shares)

    def _fail(self, found: _Project) -> None:
        self.failures += 1
        found.cut_off = True
        with suppress(Unavailable):
            found.again_at = Moment(self._clock.now() + AGAIN_AFTER_NOTHING)

    def _is_over(self, found: _Project, project: str) -> bool:
        """Whether it has not called of late, and would begin anew as it goes on: with as much."""
        if found.used or found.renewed is not None or not found.buckets:
            found.used = False
            return False
        now, quota = self._clock.now(), self._book.of(project)
        return all(
            bucket.level(limit * share, now) >= holds(limit * share)
            for bucket, share, limit in _limited(found, quota)
        )

    async def _renew(self, project: str, found: _Project, shares: RateShares) -> None:
        now, quota = self._clock.now(), self._book.of(project)
        asked = [LEAST] * len(RATES)
        if found.buckets:
            asked = [
                0.0 if limit is None else bucket.asked(now) / limit
                for bucket, limit in zip(found.buckets, _limits(quota), strict=True)
            ]
        leased, alone = await shares.renew(project, tuple(asked))
        now = self._clock.now()
        before = found.shares or (0.0,) * len(RATES)
        grown = [max(0.0, new - old) for new, old in zip(leased.shares, before, strict=True)]
        if not found.buckets:
            # Others may have used up what they had: only who is alone begins with all he may have.
            begins = leased.shares if alone else tuple(min(s, LEAST) for s in leased.shares)
            found.buckets = _filled(quota, begins, now)
        else:
            for rate, (bucket, share, limit) in enumerate(_all(found, quota)):
                if limit is not None:
                    bucket.settle(limit * share, now, limit * grown[rate] if alone else 0.0)
        found.shares, found.until, found.cut_off = leased.shares, leased.until, False
        again = AGAIN_AFTER if any(grown) else AGAIN_AFTER_NOTHING
        found.again_at = Moment(now + again)


def _change(found: _Project, quota: Quota, now: Moment) -> None:
    """The limits are others now: whoever may have more has it at once."""
    old, new = _limits(found.quota), _limits(quota)
    for bucket, share, before, after in zip(found.buckets, found.shares, old, new, strict=False):
        if before is not None and after is not None and after > before:
            bucket.settle(before * share, now, (after - before) * share)
        elif after is None:
            bucket.settle(0.0, now, inf)
    found.quota = quota


def _limits(quota: Quota) -> tuple[Limit, ...]:
    return (quota.requests_per_second, quota.messages_per_second)


def _all(found: _Project, quota: Quota) -> Iterable[tuple[Bucket, float, Limit]]:
    return zip(found.buckets, found.shares, _limits(quota), strict=True)


def _limited(found: _Project, quota: Quota) -> Iterable[tuple[Bucket, float, int]]:
    return (
        (bucket, share, limit) for bucket, share, limit in _all(found, quota) if limit is not None
    )


def _filled(quota: Quota, shares: Shares, now: Moment) -> tuple[Bucket, ...]:
    """Full ones; one without a limit is full at whatever limit it gets."""
    return tuple(
        Bucket(inf if limit is None else holds(limit * share), now)
        for limit, share in zip(_limits(quota), shares, strict=True)
    )
