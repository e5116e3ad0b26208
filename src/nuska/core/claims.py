"""What a caller may do with claims. A claim belongs to the project: whoever knows its id may
read, renew and release it (contract lifecycle §5).
"""

from asyncio import CancelledError
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.bodies import Bodies
from nuska.core.ranges import check_range
from nuska.core.terms import Terms
from nuska.core.undoing import carried_out
from nuska.core.usage import Usage
from nuska.core.waiting import Patience, Watch
from nuska.domain.claims import Claim, Claimed
from nuska.domain.errors import InvalidInput, NotFound, Unavailable
from nuska.domain.limits import DEFAULT_CLAIM_LIMIT, MIN_CLAIM_GRACE, MIN_CLAIM_TTL, Limits
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.domain.positions import CLAIM_ID_BYTES, ClaimId, claim_id
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import ClaimStore, MessageStore, RandomBytes
from nuska.interfaces.wakeups import Wakeups

LONGEST_GRACE = 1_000_000_000
"""Seconds. A renewal takes any grace that is not negative (C15); what exceeds these thirty
years means them, so that a message's end stays a moment that every store can hold."""


class ClaimTerms(Struct, frozen=True, gc=False):
    """What a request asks of a claim: whole seconds, None for the default."""

    ttl: int | None = None
    grace: int | None = None
    limit: int | None = None


class Taken(Struct, frozen=True, gc=False):
    """A new claim and its messages, oldest first."""

    id: ClaimId
    messages: list[Message]


class ClaimService:
    def __init__(
        self,
        store: ClaimStore,
        messages: MessageStore,
        terms: Terms,
        watch: Watch,
        wakeups: Wakeups,
        clock: Clock,
        limits: Limits,
        random_bytes: RandomBytes,
        bodies: Bodies,
        usage: Usage,
    ) -> None:
        self._store = store
        self._messages = messages
        self._terms = terms
        self._watch = watch
        self._wakeups = wakeups
        self._clock = clock
        self._limits = limits
        self._random_bytes = random_bytes
        self._bodies = bodies
        self._usage = usage

    async def create(
        self,
        caller: Caller,
        name: str,
        terms: ClaimTerms,
        *,
        patience: Patience | None = None,
    ) -> Taken | None:
        """Claim up to ``terms.limit`` messages; None when there are none (after waiting)."""
        queue = QueueRef(caller.project, name)
        allow(caller, "claims:create", queue)
        ttl = self._ttl(terms.ttl)
        grace = terms.grace
        if grace is None:
            grace = self._limits.default_claim_grace
        else:
            check_range("grace", grace, MIN_CLAIM_GRACE, self._limits.max_claim_grace)
        limit = self._limit(terms.limit)

        async def look() -> Taken | None:
            return await self._take(queue, limit, ttl, seconds(grace))

        if patience is None:
            return await look()
        return await self._watch.until_found(
            look, lambda taken: taken is None, queue, patience, taker=True
        )

    async def _take(
        self, queue: QueueRef, limit: int, ttl: Duration, grace: Duration
    ) -> Taken | None:
        rule = (await self._terms.of(queue)).dead_letters
        new_id = claim_id(self._random_bytes(CLAIM_ID_BYTES))

        async def claim() -> Claimed:
            return await self._store.create(
                queue,
                claim_id=new_id,
                limit=limit,
                ttl=ttl,
                grace=grace,
                dead_letters=rule,
                now=self._clock.now(),
            )

        if self._usage.is_limited:
            async with self._usage.for_claim(queue) as room:
                claimed = await claim()
                room.stored = bool(claimed.messages)
        else:
            claimed = await claim()
        if rule is not None and claimed.dead_lettered:
            self._wakeups.wake(rule.queue, claimed.dead_lettered)
            if not claimed.messages:
                # One step moves a bounded number away, and there may be more behind them.
                self._wakeups.wake(queue, 1)
        if not claimed.messages:
            return None
        try:
            opened, erased = await self._bodies.sort(queue, claimed.messages)
        except (Unavailable, CancelledError):
            await carried_out(partial(self._release, queue, new_id, uncount=True))
            raise
        if erased:
            await self._discard(queue, new_id, erased)
        return Taken(new_id, opened) if opened else None

    async def _discard(self, queue: QueueRef, claim: str, erased: list[Message]) -> None:
        """Delete what nobody can open ever, so that it comes to no other worker, and let those
        who wait look again."""
        for message in erased:
            await self._messages.delete(queue, message.id, claim_id=claim, now=self._clock.now())
        self._usage.free(queue)
        self._wakeups.wake(queue, 1)

    async def get(self, caller: Caller, name: str, claim: str) -> Claim:
        """A live claim with those of its messages that still exist."""
        queue = QueueRef(caller.project, name)
        allow(caller, "claims:get", queue)
        found = await self._store.get(queue, claim, now=self._clock.now())
        if found is None:
            raise NotFound(_GONE)
        return replace(found, messages=await self._bodies.open(queue, found.messages))

    async def renew(self, caller: Caller, name: str, claim: str, terms: ClaimTerms) -> None:
        """Start a live claim anew; what ``terms`` leave out takes the server's defaults."""
        queue = QueueRef(caller.project, name)
        allow(caller, "claims:update", queue)
        ttl = self._ttl(terms.ttl)
        grace = self._limits.default_claim_grace if terms.grace is None else int(terms.grace)
        if grace < 0:
            raise InvalidInput(f"The value of grace must be at least 0, not {grace}.")
        renewed = await self._store.renew(
            queue,
            claim,
            ttl=ttl,
            grace=seconds(min(grace, LONGEST_GRACE)),
            now=self._clock.now(),
        )
        if not renewed:
            raise NotFound(_GONE)

    async def release(self, caller: Caller, name: str, claim: str) -> None:
        """End a claim; nothing happens when it is over already."""
        queue = QueueRef(caller.project, name)
        allow(caller, "claims:delete", queue)
        await self._release(queue, claim, uncount=False)

    async def undo(self, caller: Caller, name: str, claim: str) -> None:
        """The client went before its answer: as if the claim had never been."""
        queue = QueueRef(caller.project, name)
        allow(caller, "claims:create", queue)
        await self._release(queue, claim, uncount=True)

    async def _release(self, queue: QueueRef, claim: str, *, uncount: bool) -> None:
        freed = await self._store.release(queue, claim, uncount=uncount, now=self._clock.now())
        self._usage.free(queue)
        self._wakeups.wake(queue, freed)

    def _ttl(self, ttl: int | None) -> Duration:
        if ttl is None:
            return seconds(self._limits.default_claim_ttl)
        return seconds(check_range("ttl", ttl, MIN_CLAIM_TTL, self._limits.max_claim_ttl))

    def _limit(self, limit: int | None) -> int:
        highest = self._limits.max_messages_per_claim_or_pop
        if limit is None:
            return min(DEFAULT_CLAIM_LIMIT, highest)
        return check_range("limit", limit, 1, highest)


_GONE = "There is no live claim of this id."
