"""Claims, and dead letters on their way to another hash slot (D8)."""

from nuska.domain.claims import OVER_CLAIM_COUNT, Claim, Claimed, DeadLetterRule
from nuska.domain.errors import Unavailable
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import ClaimId
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.lane import Part
from nuska.stores.redis.names import tag
from nuska.stores.redis.outbox import Outbox
from nuska.stores.redis.queues import CLEARINGS_AT_MOST
from nuska.stores.redis.rows import decode, held_by

COUNTED_AT_ONCE = 100
"""Claims that one call looks at."""


class RedisClaims:
    """``ClaimStore`` on Redis."""

    def __init__(self, calls: Calls, outbox: Outbox) -> None:
        self._calls = calls
        self._outbox = outbox

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
        claim = held_by(claim_id)
        if claim is None:
            raise ValueError("a claim id is 24 hexadecimal digits")
        target = queue if dead_letters is None else dead_letters.queue
        names = self._calls.names
        is_near = self._calls.servers.in_one_slot(names.header(queue), names.header(target))
        arguments: list[Part] = [claim, limit, ttl, grace]
        if dead_letters is None:
            arguments += ["", 0, "", "", "", ""]
        else:
            new_ttl = "" if dead_letters.ttl is None else dead_letters.ttl
            address = "" if is_near else tag(target)
            arguments += [dead_letters.max_claims, DEAD_LETTERS_PER_CLAIM, new_ttl]
            arguments += [queue.name, OVER_CLAIM_COUNT, address]
        other = target if is_near else queue
        for _ in range(CLEARINGS_AT_MOST):
            answer = await self._calls.write_two("nuska_create_claim", queue, other, now, arguments)
            if answer[0] != b"again":
                break
        else:
            raise Unavailable("The queue has too much to clear away.")
        _, moment, moved, *messages = answer
        if moved and not is_near:
            await self._outbox.deliver_soon(queue, now)
        return Claimed(decode(messages, Moment(int(moment))), moved)

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        claim = held_by(claim_id)
        if claim is None:
            return None
        answer = await self._calls.read("nuska_get_claim", queue, now, claim)
        if answer[0] == b"missing":
            return None
        _, moment, ttl, started_at, expires_at, *messages = answer
        return Claim(
            id=ClaimId(claim_id),
            ttl=Duration(int(ttl)),
            started_at=Moment(int(started_at)),
            expires_at=Moment(int(expires_at)),
            messages=decode(messages, Moment(int(moment))),
        )

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        claim = held_by(claim_id)
        if claim is None:
            return False
        answer = await self._calls.write("nuska_renew_claim", queue, now, claim, ttl, grace)
        return bool(answer[0] == b"renewed")

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        claim = held_by(claim_id)
        if claim is None:
            return 0
        answer = await self._calls.write("nuska_release_claim", queue, now, claim, int(uncount))
        return int(answer[1])

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        first = counted = 0
        while True:
            answer = await self._calls.read(
                "nuska_count_claims", queue, now, first, COUNTED_AT_ONCE
            )
            _, holding, looked = answer
            counted += holding
            if looked < COUNTED_AT_ONCE:
                return int(counted)
            # Claims that have ended meanwhile stood in front: as many are passed over as were
            # counted and are no more.
            first += looked
