"""Claims of the model store, and the dead letters that creating one may find."""

from msgspec.structs import replace

from nuska.domain.claims import (
    OVER_CLAIM_COUNT,
    Claim,
    Claimed,
    DeadLetterRule,
    end_after_claim,
)
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import DeadLetter, Message, QueueRef
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.positions import ClaimId
from nuska.stores.memory.state import Lease, QueueState, State


class MemoryClaims:
    def __init__(self, state: State) -> None:
        self._state = state

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
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return Claimed([])
        if dead_letters is not None:
            self._state.find(dead_letters.queue)  # nothing is half done when that is fenced
        taken: list[Message] = []
        dead = 0
        # `available` looks at what was there when the call began, so a message that
        # dead-letters into this same queue is not met twice.
        for message in state.available(now):
            if len(taken) == limit:
                break
            if dead_letters is None or message.claim_count < dead_letters.max_claims:
                counted = replace(message, claim_count=message.claim_count + 1)
                taken.append(hand_out(state, counted, claim_id, ttl, grace, now))
            elif dead < DEAD_LETTERS_PER_CLAIM:
                self._bury(state, message, dead_letters, now)
                dead += 1
            else:
                break
        if taken:
            state.claims[claim_id] = Lease(ttl, started_at=now, expires_at=after(now, ttl))
        return Claimed(taken, dead)

    def _bury(
        self, source: QueueState, message: Message, rule: DeadLetterRule, now: Moment
    ) -> None:
        """Move ``message`` to the tail of the dead-letter queue, free at once."""
        source.remove(message.id)
        target = self._state.find_or_create(rule.queue, now)
        target.put(
            replace(
                message,
                position=target.take_position(now),
                ttl=message.ttl if rule.ttl is None else rule.ttl,
                expires_at=message.expires_at if rule.ttl is None else after(now, rule.ttl),
                available_at=now,
                dead=DeadLetter(
                    origin=source.queue.ref.name,
                    reason=OVER_CLAIM_COUNT,
                    claim_count=message.claim_count,
                    at=now,
                ),
            )
        )

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        now = self._state.at(now)
        state = self._state.find(queue)
        lease = state.live_claim(claim_id, now) if state is not None else None
        if state is None or lease is None:
            return None
        return Claim(
            id=ClaimId(claim_id),
            ttl=lease.ttl,
            started_at=lease.started_at,
            expires_at=lease.expires_at,
            messages=state.held_by(claim_id, now),
        )

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None or state.live_claim(claim_id, now) is None:
            return False
        for message in state.held_by(claim_id, now):
            hand_out(state, message, claim_id, ttl, grace, now)
        state.claims[claim_id] = Lease(ttl, started_at=now, expires_at=after(now, ttl))
        return True

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None or state.live_claim(claim_id, now) is None:
            return 0
        held = state.held_by(claim_id, now)
        for message in held:
            count = message.claim_count - 1 if uncount else message.claim_count
            state.put(replace(message, claim_id=None, claim_count=count, available_at=now))
            state.waiting.discard(message.id)
        del state.claims[claim_id]
        return len(held)

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        now = self._state.at(now)
        state = self._state.find(queue)
        stored = [] if state is None else state.existing(now)
        return len({message.claim_id for message in stored} - {None})


def hand_out(
    state: QueueState,
    message: Message,
    claim_id: str,
    ttl: Duration,
    grace: Duration,
    now: Moment,
) -> Message:
    """Put ``message`` into the claim until ``now + ttl``, prolonging it if it needs to be."""
    end = end_after_claim(message.expires_at, now, ttl, grace)
    in_claim = replace(
        message,
        claim_id=claim_id,
        available_at=after(now, ttl),
        expires_at=end,
        ttl=message.ttl if end == message.expires_at else Duration(ttl + grace),
    )
    state.put(in_claim)
    state.waiting.add(message.id)
    return in_claim
