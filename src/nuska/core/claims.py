"""What a caller may do with claims. A claim belongs to the project: whoever knows its id may
read, renew and release it (contract lifecycle §5).
"""

import logging
from asyncio import CancelledError, gather
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.bodies import Bodies
from nuska.core.ranges import check_range
from nuska.core.terms import Terms
from nuska.core.undoing import carried_out, given_back
from nuska.core.usage import Usage
from nuska.core.waiting import Patience, Watch
from nuska.domain.claims import Claim, Claimed, DeadLetterRule
from nuska.domain.errors import InvalidInput, NotFound, NuskaError, Unavailable
from nuska.domain.limits import DEFAULT_CLAIM_LIMIT, MIN_CLAIM_GRACE, MIN_CLAIM_TTL, Limits
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.domain.positions import CLAIM_RANDOM_BYTES, ClaimId, new_claim_id
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import ClaimsTogether, ClaimStore, MessageStore, RandomBytes
from nuska.interfaces.wakeups import Wakeups

log = logging.getLogger("nuska.claims")

LONGEST_GRACE = 1_000_000_000
"""Seconds. A renewal takes any grace that is not negative (C15); what exceeds these thirty
years means them, so that a message's end stays a moment that every store can hold."""


class ClaimTerms(Struct, frozen=True, gc=False):
    """What a request asks of a claim: whole seconds, None for the default."""

    ttl: int | None = None
    grace: int | None = None
    limit: int | None = None


MOST_TOGETHER = 20
"""Claims of one request."""
ENOUGH_TOGETHER = 1024 * 1024
"""Bytes of bodies with which one request makes no further claim."""

SMALL_PART = 8
"""Of that: until so much is handed out, messages are small."""


class Taken(Struct, frozen=True, gc=False):
    """A new claim and its messages, oldest first."""

    id: ClaimId
    messages: list[Message]


class _Asked(NamedTuple):
    """What a request asks of each claim, checked."""

    limit: int
    ttl: Duration
    grace: Duration


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
        self._together = store if isinstance(store, ClaimsTogether) else None
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
        asked = self._asked(caller, queue, terms)

        async def look() -> Taken | None:
            taken = await self._take(queue, asked, 1)
            return taken[0] if taken else None

        if patience is None:
            return await look()
        return await self._watch.until_found(
            look, lambda taken: taken is None, queue, patience, taker=True
        )

    async def create_together(
        self,
        caller: Caller,
        name: str,
        terms: ClaimTerms,
        count: int,
        *,
        patience: Patience | None = None,
    ) -> list[Taken]:
        """``count`` claims as by ``create``; fewer where messages are fewer or large, none when
        there are no messages (after waiting)."""
        queue = QueueRef(caller.project, name)
        asked = self._asked(caller, queue, terms)
        check_range("claims", count, 1, MOST_TOGETHER)

        async def look() -> list[Taken]:
            return await self._take(queue, asked, count)

        if patience is None:
            return await look()
        return await self._watch.until_found(
            look, lambda taken: not taken, queue, patience, taker=True
        )

    def _asked(self, caller: Caller, queue: QueueRef, terms: ClaimTerms) -> _Asked:
        """What ``terms`` mean here, if the caller may claim."""
        allow(caller, "claims:create", queue)
        ttl = self._ttl(terms.ttl)
        grace = terms.grace
        if grace is None:
            grace = self._limits.default_claim_grace
        else:
            check_range("grace", grace, MIN_CLAIM_GRACE, self._limits.max_claim_grace)
        return _Asked(self._limit(terms.limit), ttl, seconds(grace))

    async def _take(self, queue: QueueRef, asked: _Asked, count: int) -> list[Taken]:
        rule = (await self._terms.of(queue)).dead_letters
        now = self._clock.now()
        ids = [new_claim_id(now, self._random_bytes(CLAIM_RANDOM_BYTES)) for _ in range(count)]
        if self._usage.is_limited:
            async with self._usage.for_claims(queue, count) as room:
                made = await self._claim(queue, ids[: room.claims], asked, rule)
                room.unused = room.claims - sum(bool(claimed.messages) for _, claimed in made)
        else:
            made = await self._claim(queue, ids, asked, rule)
        if rule is not None and (moved := sum(claimed.dead_lettered for _, claimed in made)):
            self._wakeups.wake(rule.queue, moved)
            if not all(claimed.messages for _, claimed in made):
                # One step moves a bounded number away, and there may be more behind them.
                self._wakeups.wake(queue, 1)
        return await self._opened(queue, [one for one in made if one[1].messages])

    async def _claim(
        self, queue: QueueRef, ids: Sequence[ClaimId], asked: _Asked, rule: DeadLetterRule | None
    ) -> list[tuple[ClaimId, Claimed]]:
        """A claim for each of ``ids``; fewer where messages are fewer or large. Who is cut off
        takes none with him, whichever the store has made by then."""
        try:
            return await self._made(queue, ids, asked, rule)
        except CancelledError:
            await given_back(partial(self._uncount, queue, ids))
            raise

    async def _made(
        self, queue: QueueRef, ids: Sequence[ClaimId], asked: _Asked, rule: DeadLetterRule | None
    ) -> list[tuple[ClaimId, Claimed]]:
        if len(ids) == 1:
            return [(ids[0], await self._create(queue, ids[0], asked, rule))]
        if self._together is not None:
            claimed = await self._together.create_together(
                queue,
                claim_ids=ids,
                limit=asked.limit,
                ttl=asked.ttl,
                grace=asked.grace,
                dead_letters=rule,
                enough=ENOUGH_TOGETHER,
                now=self._clock.now(),
            )
            return list(zip(ids, claimed, strict=False))
        return await self._one_by_one(queue, ids, asked, rule)

    async def _one_by_one(
        self, queue: QueueRef, ids: Sequence[ClaimId], asked: _Asked, rule: DeadLetterRule | None
    ) -> list[tuple[ClaimId, Claimed]]:
        """As much, over a store that makes no several in one step."""
        made: list[tuple[ClaimId, Claimed]] = []
        errors: list[BaseException] = []
        size = 0
        # At first no more messages than one claim may have: nobody knows how large they are.
        side_by_side = max(1, self._limits.max_messages_per_claim_or_pop // asked.limit)
        while ids and size < ENOUGH_TOGETHER and not errors:
            wave, ids = ids[:side_by_side], ids[side_by_side:]
            side_by_side *= 2
            found = await gather(
                *(self._create(queue, one, asked, rule) for one in wave), return_exceptions=True
            )
            for new_id, outcome in zip(wave, found, strict=True):
                if isinstance(outcome, BaseException):
                    errors.append(outcome)
                elif size < ENOUGH_TOGETHER or not outcome.messages:
                    made.append((new_id, outcome))
                    size += sum(len(message.body) for message in outcome.messages)
                else:
                    with suppress(Unavailable):  # then it ends by itself
                        await self._release(queue, new_id, uncount=True)
            if not all(claimed.messages for _, claimed in made):
                break
            if size > ENOUGH_TOGETHER // SMALL_PART:
                side_by_side = 1
        if errors:
            if not size:
                raise errors[0]
            _log(errors)
        return made

    async def _create(
        self, queue: QueueRef, new_id: ClaimId, asked: _Asked, rule: DeadLetterRule | None
    ) -> Claimed:
        return await self._store.create(
            queue,
            claim_id=new_id,
            limit=asked.limit,
            ttl=asked.ttl,
            grace=asked.grace,
            dead_letters=rule,
            now=self._clock.now(),
        )

    async def _opened(
        self, queue: QueueRef, made: Sequence[tuple[ClaimId, Claimed]]
    ) -> list[Taken]:
        """New claims, with bodies that can be read; those that nobody can read ever are gone."""
        taken = []
        try:
            for new_id, claimed in made:
                opened, erased = await self._bodies.sort(queue, claimed.messages)
                if erased:
                    await self._discard(queue, new_id, erased)
                if opened:
                    taken.append(Taken(new_id, opened))
        except (Unavailable, CancelledError):
            await carried_out(partial(self._uncount, queue, [new_id for new_id, _ in made]))
            raise
        return taken

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

    async def undo(self, caller: Caller, name: str, *claims: str) -> None:
        """The client went before its answer: as if its claims had never been."""
        queue = QueueRef(caller.project, name)
        allow(caller, "claims:create", queue)
        await self._uncount(queue, claims)

    async def _uncount(self, queue: QueueRef, claims: Sequence[str]) -> None:
        """Each of them, though another cannot be ended now: that one ends by itself."""
        failed: Unavailable | None = None
        for claim in claims:
            try:
                await self._release(queue, claim, uncount=True)
            except Unavailable as error:
                failed = error
        if failed is not None:
            raise failed

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


def _log(errors: Sequence[BaseException]) -> None:
    """Of claims that failed beside others: who asked is told of those others alone."""
    extra: dict[str, object] = {"failed": len(errors)}
    unexpected = next((error for error in errors if not isinstance(error, NuskaError)), None)
    if unexpected is not None:
        log.error("claims failed unexpectedly beside others", exc_info=unexpected, extra=extra)
    elif isinstance(errors[0], NuskaError):
        extra["reason"] = errors[0].description
        log.warning("claims failed beside others", extra=extra)


_GONE = "There is no live claim of this id."
