"""How nodes share a project's rates: each has a lease of a part, written down in the store.

A record for each project says which node has which share, and how much is asked of it. The
shares add up to the whole; who is asked for little leaves more to the others, as they learn when
they renew. Two things can go beyond the whole, and both are bounded: a node may always have
``LEAST`` while another has not yet given up what it has, and what a node learnt of others is as
old as its last renewal.

| collection | key | value |
|---|---|---|
| ``rate_shares`` | project | ``_Split`` |
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, Record, RecordStore

RATE_SHARES = "rate_shares"
LEASE = 4000
"""Milliseconds for which a share is good."""
RENEWED_BEFORE = 2000
"""Milliseconds before its end a share is written anew, though nothing about it has changed."""
LEAST = 0.1
"""Of the limit: what a node may have although others have the whole of it."""
FIRST = 0.5
"""Of what nobody has: what a node takes at first, since others may be about to begin, too."""
SAME = 0.02
"""Shares that differ by less are not worth a write."""
ATTEMPTS = 20

Shares = tuple[float, ...]
"""Of the whole of each rate, in the order of ``domain/quotas.py``."""
WHOLE: Shares = (1.0, 1.0)


class Leased(Struct, frozen=True):
    """What one node has."""

    until: Moment
    shares: Shares
    asked: Shares
    """What is asked of it a second, in parts of the limits."""


class _Split(Struct, frozen=True):
    nodes: dict[str, Leased]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Split).decode


class RateShares:
    """Those of one node."""

    def __init__(self, records: RecordStore, clock: Clock, node: str) -> None:
        """``node``: a word that no other node has."""
        self._records = records
        self._clock = clock
        self._node = node

    async def renew(self, project: str, asked: Shares) -> tuple[Leased, bool]:
        """What this node may have from now on, and whether no other node has any of it."""
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            record = await self._records.get(RATE_SHARES, project)
            others = _live(record, now)
            before = others.pop(self._node, None)
            shares = _shares(before, list(others.values()), asked)
            if before is not None and _is_good_enough(before, shares, asked, now):
                return before, not others
            leased = Leased(Moment(now + LEASE), shares, asked)
            value = _encode(_Split({**others, self._node: leased}))
            version = ABSENT if record is None else record.version
            if await self._records.put(RATE_SHARES, project, value, version=version) is not None:
                return leased, not others
        raise Unavailable("The shares of a rate keep changing.")

    async def leave(self, project: str) -> None:
        """Leave what this node has to the others."""
        for _ in range(ATTEMPTS):
            record = await self._records.get(RATE_SHARES, project)
            if record is None:
                return
            others = _live(record, self._clock.now())
            others.pop(self._node, None)
            if not others:
                done = await self._records.remove(RATE_SHARES, project, version=record.version)
            else:
                value = _encode(_Split(others))
                done = (
                    await self._records.put(RATE_SHARES, project, value, version=record.version)
                    is not None
                )
            if done:
                return

    async def asked_of_others(self, project: str) -> Shares:
        """What is asked of other nodes a second, in parts of the limits; as they said last."""
        record = await self._records.get(RATE_SHARES, project)
        others = _live(record, self._clock.now())
        others.pop(self._node, None)
        return tuple(
            sum(other.asked[rate] for other in others.values()) for rate in range(len(WHOLE))
        )


def is_over(value: bytes, now: Moment) -> bool:
    """Whether no share of this record is good any more: whoever had one has gone without leaving
    it to others, or was forgotten among very many projects."""
    return all(leased.until <= now for leased in _decode(value).nodes.values())


def fair(asked: Sequence[float]) -> list[float]:
    """Shares of 1: everybody what is asked of him as far as there is enough, nobody more than
    others who are asked for as much; what is left over, in equal parts."""
    shares = [0.0] * len(asked)
    left = 1.0
    for done, place in enumerate(sorted(range(len(asked)), key=lambda at: asked[at])):
        shares[place] = min(asked[place], left / (len(asked) - done))
        left -= shares[place]
    return [share + max(left, 0.0) / len(asked) for share in shares]


def _shares(before: Leased | None, others: Sequence[Leased], asked: Shares) -> Shares:
    found = []
    for rate, mine in enumerate(asked):
        target = fair([mine, *(other.asked[rate] for other in others)])[0]
        free = max(0.0, 1.0 - sum(other.shares[rate] for other in others))
        if before is None:
            free *= FIRST
        found.append(min(target, max(free, LEAST)))
    return tuple(found)


def _is_good_enough(before: Leased, shares: Shares, asked: Shares, now: Moment) -> bool:
    return before.until - now > RENEWED_BEFORE and all(
        abs(old - new) < SAME
        for old, new in zip((*before.shares, *before.asked), (*shares, *asked), strict=True)
    )


def _live(record: Record | None, now: Moment) -> dict[str, Leased]:
    if record is None:
        return {}
    nodes = _decode(record.value).nodes
    return {node: leased for node, leased in nodes.items() if leased.until > now}
