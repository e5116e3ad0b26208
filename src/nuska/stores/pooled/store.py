"""Several stores as one: the catalogue's own, and those of its pools."""

import asyncio
import logging
from collections.abc import Awaitable

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.pools import OWN
from nuska.interfaces.clock import Clock
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.storage import (
    Capabilities,
    Hear,
    RandomBytes,
    SelectiveStore,
    SharedStore,
    SweepReport,
)
from nuska.stores.pooled.announcements import PooledAnnouncements
from nuska.stores.pooled.catalogue import Catalogue
from nuska.stores.pooled.claims import PooledClaims
from nuska.stores.pooled.clearing import Clearing
from nuska.stores.pooled.letters import Letters
from nuska.stores.pooled.messages import PooledMessages
from nuska.stores.pooled.moving import Mover
from nuska.stores.pooled.placement import PooledPlacement
from nuska.stores.pooled.placing import Placing
from nuska.stores.pooled.pools import OpenStore, PlaceOf, Pools, why
from nuska.stores.pooled.queues import PooledQueues

WARNED_EVERY = 30.0
"""Seconds between two warnings of a pool that stays down."""

logger = logging.getLogger("nuska.stores.pooled")


class PooledStore:
    """``Store`` over a catalogue and its pools."""

    def __init__(
        self,
        own: PoolableStore,
        open_store: OpenStore,
        clock: Clock,
        random_bytes: RandomBytes,
        *,
        fall_back: bool,
        place_of: PlaceOf,
    ) -> None:
        self.own = own
        self.catalogue = Catalogue(own.records)
        self.pools = Pools(
            own, self.catalogue, open_store, random_bytes, fall_back=fall_back, place_of=place_of
        )
        self.placing = Placing(self.catalogue, self.pools, clock)
        self.mover = Mover(self.placing, clock)
        letters = Letters(self.placing, clock)
        self.queues = PooledQueues(self.placing, self.mover)
        self.messages = PooledMessages(self.placing)
        self.claims = PooledClaims(self.placing, letters)
        self.announcements = PooledAnnouncements(self.placing)
        self.records = own.records
        self.placement = PooledPlacement(self.placing, self.mover, letters, clock)
        self._warned: dict[str, float] = {}
        self._clearing = Clearing(self.placing, letters, clock)

    @property
    def capabilities(self) -> Capabilities:
        return self.own.capabilities

    @property
    def durability(self) -> str:
        return f"{self.own.durability}; in a pool, what its own store promises"

    @property
    def latest(self) -> Moment:
        return max(store.latest for store in self.pools.open_now.values())

    async def ping(self) -> None:
        """Every pool answers (contract storage §4)."""
        await self.own.ping()
        for name in await self.pools.known():
            await (await self.pools.store(name)).ping()

    async def sweep(self, *, now: Moment) -> SweepReport:
        """A step in every store; one that is down does not hold up the others."""
        names = [OWN, *await self.pools.known()]
        reports = await asyncio.gather(*(self._sweep(name, now) for name in names))
        if await self._clearing.step():
            self.placement.carriages.step()
        return SweepReport(
            removed=sum(report.removed for report in reports),
            due=[queue for report in reports for queue in report.due],
            more=any(report.more for report in reports),
        )

    async def _sweep(self, name: str, now: Moment) -> SweepReport:
        step: Awaitable[SweepReport]
        try:
            step = (await self.pools.store(name)).sweep(now=now)
            report = await step
            self._note(name, answers=True)
            self._warned.pop(name, None)
            return report
        except Unavailable as error:
            if name == OWN:
                raise
            if name not in await self.pools.known():  # it was removed meanwhile
                return SweepReport()
            self._note(name, answers=False)
            self._warn(name, error)
            return SweepReport()

    def _warn(self, name: str, error: Unavailable) -> None:
        """Say that a pool is down, and now and then that it still is."""
        now = asyncio.get_running_loop().time()
        if now < self._warned.get(name, -WARNED_EVERY) + WARNED_EVERY:
            return
        self._warned[name] = now
        logger.warning("a pool cannot be swept now", extra={"pool": name, "reason": why(error)})

    def _note(self, name: str, *, answers: bool) -> None:
        if name != OWN:
            self.pools.looked_at(name, answers=answers)

    async def close(self) -> None:
        await self.placement.carriages.stop()
        await self.pools.close()


class SharedPooledStore(PooledStore):
    """The same where several nodes share the catalogue: its store gives the time, and tells
    what happens in any pool."""

    def __init__(
        self,
        own: PoolableStore,
        open_store: OpenStore,
        clock: Clock,
        random_bytes: RandomBytes,
        *,
        fall_back: bool,
        place_of: PlaceOf,
    ) -> None:
        super().__init__(
            own, open_store, clock, random_bytes, fall_back=fall_back, place_of=place_of
        )
        assert isinstance(own, SharedStore), "checked by who chose this class"
        self._shared: SharedStore = own

    async def time(self) -> Moment:
        return await self._shared.time()

    def heed(self, queue: QueueRef | None) -> None:
        if isinstance(self._shared, SelectiveStore):
            self._shared.heed(queue)

    def disregard(self, queue: QueueRef | None) -> None:
        if isinstance(self._shared, SelectiveStore):
            self._shared.disregard(queue)

    def tell(self, queue: QueueRef, messages: int) -> None:
        self._shared.tell(queue, messages)

    async def hear_others(self, hear: Hear) -> None:
        await self._shared.hear_others(hear)
