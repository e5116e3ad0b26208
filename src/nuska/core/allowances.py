"""What a node may still store of one kind of thing for one project, spent from memory.

Spending asks nobody as long as the node has some left. Then it takes another lot from the ledger;
and when that has none, whoever asked first measures what is there, for all who wait behind him:
things expire and are deleted, and nobody counts that as it happens. While measuring, the node
stores nothing of the kind itself, so that nothing of its own is counted twice or not at all.

Nothing is refused before it was measured that there is no room, or as good as: measuring costs the
project's own requests time, so it is done again only when it can show something else. Whoever
waits for it may give up, and it goes on for those who come after him: what takes longer than
anybody waits would otherwise never be known.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from nuska.core.ledgers import Ledger
from nuska.domain.allowances import SHARES, Amounts, Lease, Limits, covers, exceeded, minus, plus
from nuska.domain.errors import QuotaExceeded, Unavailable

log = logging.getLogger("nuska.usage")

TAKEN_WITHIN = 10.0
"""Seconds that a request waits for room to be found, however many others do."""
SETTLED_WITHIN = 5.0
"""Seconds for which what is on its way to the store is waited for."""
FULL_FOR = 1.0
"""Seconds for which a finding that there is no room stands, as long as nothing was taken away
here: elsewhere something may have been, or expired."""
REST = 4.0
"""Measuring takes turns with so many times its own duration of not measuring."""
ATTEMPTS = 3
"""How often is measured for one request: others may have taken what that has shown to be left."""
PATIENCE = 3.0
"""Seconds for which a request waits for that; then the last finding has to do, if there is one."""


class Measured(NamedTuple):
    """The last time that this node has measured."""

    ended: float
    took: float


class Refused(NamedTuple):
    """What there was no room for when that was found out last."""

    wanted: Amounts
    lacking: int
    was_full: bool


class Allowance:
    def __init__(
        self,
        names: tuple[str, ...],
        measure: Callable[[Limits], Awaitable[Amounts]],
        ledger: Ledger,
    ) -> None:
        """``names``: of the limits, in ``domain/quotas.py``. ``measure`` is told the limits: what
        has none need not be measured."""
        self._names = names
        self._look = measure
        self._ledger = ledger
        self._nothing: Amounts = (0,) * len(names)
        self._limits: Limits = ()
        self._left = self._nothing
        self._under_way = self._nothing
        self._spent = self._nothing
        """Since the last measuring."""
        self._freed = False
        """Something was taken away here since then."""
        self._last: Measured | None = None
        self._measuring: asyncio.Task[None] | None = None
        self._refused: Refused | None = None
        self._taking = asyncio.Lock()
        self._in_turn = 0
        """Who waits for that, or has it: posts are stored in the order in which they came."""
        self._settled = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Nobody needs it at the moment; it can be made anew when somebody does."""
        return self._is_free and not any(self._under_way)

    @property
    def measuring(self) -> asyncio.Task[None] | None:
        """Goes on though nobody waits for it; whoever has made this ends it before the store is
        closed."""
        return self._measuring

    @property
    def _is_free(self) -> bool:
        """What is left may be spent at once."""
        return self._measuring is None and not self._in_turn

    def free(self) -> None:
        """Something is taken away: measuring would show it."""
        self._freed = True

    async def take(self, wanted: Amounts, limits: Limits) -> Amounts:
        """Before something is stored. What comes back is to be given to ``settle``, whatever
        became of it. Raises ``QuotaExceeded``."""
        wanted = tuple(
            0 if limit is None else one for one, limit in zip(wanted, limits, strict=True)
        )
        if not self._is_free or not self._covers(wanted, limits):
            self._in_turn += 1
            try:
                async with asyncio.timeout(TAKEN_WITHIN):
                    await self._take_in_turn(wanted, limits)
            except TimeoutError:
                raise Unavailable("It takes too long to find out what the project has.") from None
            finally:
                self._in_turn -= 1
        else:
            self._spend(wanted)
        return wanted

    async def _take_in_turn(self, wanted: Amounts, limits: Limits) -> None:
        async with self._taking:
            if self._measuring is not None:
                await _outcome(self._measuring)
            if not self._covers(wanted, limits):
                await self._refill(wanted, limits)
            self._spend(wanted)

    def settle(self, wanted: Amounts, *, stored: bool) -> None:
        """It is stored, or may be; or it is certain that it is not."""
        self._under_way = minus(self._under_way, wanted)
        if not stored:
            self._left = plus(self._left, wanted)
            self._spent = minus(self._spent, wanted)
        self._settled.set()

    def _covers(self, wanted: Amounts, limits: Limits) -> bool:
        return limits == self._limits and covers(self._left, wanted)

    def _spend(self, wanted: Amounts) -> None:
        self._left = minus(self._left, wanted)
        self._under_way = plus(self._under_way, wanted)
        self._spent = plus(self._spent, wanted)

    async def _refill(self, wanted: Amounts, limits: Limits) -> None:
        if limits != self._limits:
            self._left, self._limits, self._refused = self._nothing, limits, None
        lacking = exceeded(self._nothing, wanted, limits)
        if lacking is None:
            refused = self._known_to_be_full(wanted) or await self._without_room(wanted)
            self._refused = refused
            if refused is None:
                return
            lacking = refused.lacking
        limit = limits[lacking]
        assert limit is not None, "nothing is refused for a limit that is none"
        raise QuotaExceeded(self._names[lacking], limit)

    async def _without_room(self, wanted: Amounts) -> Refused | None:
        """None when there is room, as far as can be found out now: it is leased then."""
        lease = await self._lease(wanted)
        for _ in range(ATTEMPTS):
            if lease.given is not None or not await self._may_measure(must=not lease.was_full):
                break
            await self._measure()
            lease = await self._lease(wanted)
        if lease.given is not None:
            self._left = plus(self._left, lease.given)
            return None
        if lease.lacking is None:
            raise Unavailable("It is not known yet how much the project has stored.")
        return Refused(wanted, lease.lacking, lease.was_full)

    async def _lease(self, wanted: Amounts) -> Lease:
        most = self._ledger.lot(self._limits, wanted)
        await self._until(lambda: covers(most, plus(self._under_way, wanted)))
        if not covers(most, plus(self._under_way, wanted)):
            raise Unavailable("Too much of the project's is on its way to the store.")
        in_hand = plus(self._left, self._under_way)
        return await self._ledger.lease(
            self._limits, minus(wanted, self._left), minus(most, in_hand)
        )

    def _known_to_be_full(self, wanted: Amounts) -> Refused | None:
        refused, last = self._refused, self._last
        if refused is None or last is None or self._freed or self._has_spent:
            return None
        if not refused.was_full:
            return None
        is_fresh = asyncio.get_running_loop().time() - last.ended < FULL_FOR
        return refused if is_fresh and covers(wanted, refused.wanted) else None

    async def _may_measure(self, *, must: bool) -> bool:
        """Whether measuring may show something else than the last time, or ``must`` be done, and
        its turn has come."""
        last = self._last
        if last is None:
            return True
        since = asyncio.get_running_loop().time() - last.ended
        rest = REST * last.took - since
        if not (must or self._freed or self._has_spent):
            return rest <= 0 and since >= FULL_FOR
        if rest > PATIENCE and not must:
            return False
        await asyncio.sleep(max(0.0, min(rest, PATIENCE)))
        return True

    @property
    def _has_spent(self) -> bool:
        """Whether a share of the limit was spent since the last measuring: so much may have gone
        again meanwhile."""
        return any(
            limit is not None and spent >= max(1, limit // SHARES)
            for spent, limit in zip(self._spent, self._limits, strict=True)
        )

    async def _measure(self) -> None:
        """Goes on when whoever waits for it does not."""
        self._measuring = asyncio.create_task(self._measure_to_the_end(), name="measuring")
        self._measuring.add_done_callback(_hear)
        await _outcome(self._measuring)

    async def _measure_to_the_end(self) -> None:
        try:
            await self._measure_once()
        finally:
            self._measuring = None

    async def _measure_once(self) -> None:
        loop = asyncio.get_running_loop()
        await self._until(lambda: not any(self._under_way))
        self._left = self._nothing
        self._freed, self._spent = False, self._nothing
        before, begun = await self._ledger.given(), loop.time()
        # As it is now: what is settled while somebody looks may be seen, or be given back.
        late = self._under_way
        try:
            held = plus(await self._look(self._limits), late)
        except BaseException:
            self._freed = True  # whatever it was that measuring might have shown
            raise
        self._last = Measured(loop.time(), loop.time() - begun)
        await self._ledger.measured(self._limits, held, before)

    async def _until(self, settled: Callable[[], bool]) -> None:
        """Wait for what is on its way, not for ever."""
        try:
            async with asyncio.timeout(SETTLED_WITHIN):
                while not settled():
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            pass


async def _outcome(measuring: asyncio.Task[None]) -> None:
    """Wait for it, and leave it alone when nobody waits any more. Raises what it has raised."""
    await asyncio.wait((measuring,))
    if measuring.cancelled():
        raise Unavailable("The server stops.")
    measuring.result()


def _hear(measuring: asyncio.Task[None]) -> None:
    """Perhaps nobody waited to be told."""
    error = None if measuring.cancelled() else measuring.exception()
    if error is not None and not isinstance(error, Unavailable):
        log.error("what a project has could not be measured", exc_info=error)
