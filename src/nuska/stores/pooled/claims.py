"""Claims over several stores. Dead letters go by way of a letter box (``letters.py``)."""

from msgspec.structs import replace

from nuska.domain.claims import Claim, Claimed, DeadLetterRule
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.interfaces.pooling import PoolableStore
from nuska.stores.pooled.letters import Letters, letter_box
from nuska.stores.pooled.placing import Placing

NOTHING = Claimed([])


class PooledClaims:
    """``ClaimStore`` over the stores of a catalogue."""

    def __init__(self, placing: Placing, letters: Letters) -> None:
        self._placing = placing
        self._letters = letters

    async def create(
        self,
        queue: QueueRef,
        *,
        claim_id: str,
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead_letters: DeadLetterRule | None = None,
        now: Moment,
    ) -> Claimed:
        rule = dead_letters
        if rule is not None and rule.queue != queue:
            rule = replace(rule, queue=letter_box(rule.queue))

        async def claim(store: PoolableStore) -> Claimed:
            if rule is not None and dead_letters is not None and rule is not dead_letters:
                await self._letters.announce(store, dead_letters.queue)
            claimed = await store.claims.create(
                queue,
                claim_id=claim_id,
                limit=limit,
                ttl=ttl,
                grace=grace,
                dead_letters=rule,
                now=now,
            )
            if claimed.dead_lettered and dead_letters is not None and rule is not dead_letters:
                await self._letters.carry_soon(store, dead_letters.queue)
            return claimed

        return await self._placing.use(queue, claim, otherwise=NOTHING)

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        return await self._placing.use(
            queue, lambda store: store.claims.get(queue, claim_id, now=now), otherwise=None
        )

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        return await self._placing.use(
            queue,
            lambda store: store.claims.renew(queue, claim_id, ttl=ttl, grace=grace, now=now),
            otherwise=False,
        )

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        return await self._placing.use(
            queue,
            lambda store: store.claims.release(queue, claim_id, uncount=uncount, now=now),
            otherwise=0,
        )

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        return await self._placing.use(
            queue, lambda store: store.claims.count(queue, now=now), otherwise=0
        )
