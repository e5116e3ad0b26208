"""The book of limits: what holds for every project, and what was said about one of them.

Read from memory, without waiting, on the way of every request. What an operator says about a
project is a record of the store; the node that is told knows at once, the others of the store
within ``LOOK_EVERY``.

| collection | key | value |
|---|---|---|
| ``quotas`` | project | ``Override`` |
| ``quota_changes`` | ``last`` | nothing: its version changes with every change above |
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import msgspec

from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.quotas import RATES, STOCK, Override, Quota, limits_any
from nuska.interfaces.records import ABSENT, RecordStore

QUOTAS = "quotas"
CHANGES = "quota_changes"
LAST = "last"
PAGE = 100
ATTEMPTS = 20
"""How often a record is written again that somebody else has changed meanwhile."""
LOOK_EVERY = 2.0
"""Seconds between two looks for what was said on another node."""
LOOKS_PER_READING = 30
"""After so many looks everything is read again: whoever made a change may have ended before it
could say so."""
MAX_OVERRIDES = 10_000
"""Projects about which something is said."""
MAX_NAMED = 200
"""Limits of projects whose refusals are counted apart; those of others are counted together."""
ANY = ""
"""The project of these."""

logger = logging.getLogger("nuska.quotas")
_encode = msgspec.json.Encoder().encode
_override = msgspec.json.Decoder(Override, strict=True).decode
NOTHING_SAID = Override()


class Meter(Protocol):
    """Whoever knows how much of something a project has."""

    async def use(self, project: str) -> Mapping[str, int]:
        """How much there is, by the names of ``Quota``. Need not be exact; says why not where
        quotas are described to users."""
        ...


class QuotaBook:
    """Of one process. Whoever refuses something for a limit says so to ``count_refusal``."""

    def __init__(self, defaults: Quota, records: RecordStore | None) -> None:
        """``records``: None for a store that keeps none; there nothing can be said about a
        project."""
        self.defaults = defaults
        self.refused: Counter[tuple[str, str]] = Counter()
        """By the limit that would have been exceeded, and the project."""
        self.limits_rates = False
        """Whether there is a limit on how fast any project goes; else nobody need ask."""
        self.limits_stock = False
        """Whether there is a limit on what any project stores; else nobody need count."""
        self._records = records
        self._said: dict[str, Override] = {}
        self._own: dict[str, Quota] = {}
        self._last: str | None = None
        """The version of the last change that was taken in; None: nothing was read yet."""
        self._looks = 0
        self._changing = asyncio.Lock()
        self._sum_up()

    def count_refusal(self, name: str, project: str) -> None:
        """For metrics: something was refused for this limit of the project."""
        if (name, project) not in self.refused and len(self.refused) >= MAX_NAMED:
            project = ANY
        self.refused[name, project] += 1

    def of(self, project: str) -> Quota:
        """The limits of a caller's project (``owner_of`` that of an internal queue)."""
        return self._own.get(project, self.defaults)

    @property
    def own(self) -> Mapping[str, Quota]:
        """The limits of the projects about which something is said."""
        return self._own

    def said_about(self, project: str) -> Override:
        return self._said.get(project, NOTHING_SAID)

    async def put(self, project: str, override: Override) -> None:
        """Say this about the project, in place of all that was said before."""
        records = self._kept()
        async with self._changing:
            if project not in self._said and len(self._said) >= MAX_OVERRIDES:
                raise InvalidInput(
                    f"{MAX_OVERRIDES} projects have quotas of their own; there can be no more."
                )
            await _put(records, project, override)
            self._take_in(project, override)
            self._sum_up()
            await self._tell(records)

    async def reset(self, project: str) -> None:
        """Say nothing about the project: what holds for all holds for it."""
        records = self._kept()
        async with self._changing:
            for _ in range(ATTEMPTS):
                record = await records.get(QUOTAS, project)
                if record is None or await records.remove(QUOTAS, project, version=record.version):
                    break
            else:
                raise _too_busy()
            self._take_in(project, NOTHING_SAID)
            self._sum_up()
            await self._tell(records)

    async def read(self) -> None:
        """Take in everything that is said."""
        if self._records is None:
            return
        async with self._changing:
            await self._read(self._records)

    async def look(self) -> None:
        """Take in what has changed since the last look, if anything has."""
        records = self._records
        if records is None:
            return
        async with self._changing:
            self._looks += 1
            if self._last != await _last(records) or self._looks >= LOOKS_PER_READING:
                await self._read(records)

    async def run(self) -> None:
        """Look again and again, until cancelled: for stores that nodes share."""
        failing = False
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self.look()
                failing = False
            except Unavailable as error:
                if not failing:
                    logger.warning(
                        "quotas cannot be read now; those known hold",
                        extra={"reason": error.description},
                    )
                failing = True
            except Exception as error:
                logger.error("reading quotas failed unexpectedly", exc_info=error)

    async def _read(self, records: RecordStore) -> None:
        # First the version, then what it stands for: a change between the two is seen again.
        last = await _last(records)
        said: dict[str, Override] = {}
        after = ""
        while len(said) < MAX_OVERRIDES:
            page = await records.page(QUOTAS, after=after, limit=PAGE)
            said |= {record.key: _override(record.value) for record in page}
            if len(page) < PAGE:
                break
            after = page[-1].key
        self._said, self._own = {}, {}
        for project, override in said.items():
            self._take_in(project, override)
        self._sum_up()
        self._last, self._looks = last, 0

    async def _tell(self, records: RecordStore) -> None:
        """Have other nodes read again."""
        for _ in range(ATTEMPTS):
            record = await records.get(CHANGES, LAST)
            version = ABSENT if record is None else record.version
            told = await records.put(CHANGES, LAST, b"{}", version=version)
            if told is not None:
                if self._last == version:  # else there is a change that was not read yet
                    self._last = told
                return
        raise _too_busy()

    def _take_in(self, project: str, override: Override) -> None:
        if override == NOTHING_SAID:
            self._said.pop(project, None)
            self._own.pop(project, None)
        else:
            self._said[project] = override
            self._own[project] = override.over(self.defaults)

    def _sum_up(self) -> None:
        every = (self.defaults, *self._own.values())
        self.limits_rates = any(limits_any(quota, RATES) for quota in every)
        self.limits_stock = any(limits_any(quota, STOCK) for quota in every)

    def _kept(self) -> RecordStore:
        if self._records is None:
            raise Unavailable("This store cannot keep quotas of projects.")
        return self._records


async def _put(records: RecordStore, project: str, override: Override) -> None:
    for _ in range(ATTEMPTS):
        record = await records.get(QUOTAS, project)
        version = ABSENT if record is None else record.version
        if await records.put(QUOTAS, project, _encode(override), version=version) is not None:
            return
    raise _too_busy()


async def _last(records: RecordStore) -> str:
    record = await records.get(CHANGES, LAST)
    return ABSENT if record is None else record.version


def _too_busy() -> Unavailable:
    return Unavailable("Quotas keep changing under this request.")
