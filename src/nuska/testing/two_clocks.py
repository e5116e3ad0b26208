"""Two nodes on one store, whose clocks differ, doing anything in any order.

A driver's test subclasses ``TwoClocks`` and opens the nodes; Hypothesis chooses who does what,
and by how much the second clock is behind. There is no model beside them: how far a node's
clock may be from a queue's last moment is each store's own affair. What must be true whatever
the moments were is kept here, message by message, from what the store has said:

    I1, I5   a claim that asks for plenty gets all that is to be had by the claimer's own clock
    I2       a claim begins when the one before it has ended, been renewed to, or been released
    I3       what was deleted or popped is not seen again
    I7       the count goes up by one with each claim
    I8       positions follow the order of posts
    I9       no claim before a delay is over, and none after the message's end

Refuses to know what is not told: a pop has no moment, so it is held to bounds.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from msgspec import Struct

from nuska.domain.claims import DeadLetterRule
from nuska.domain.messages import DeleteOutcome, Message, NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import BEFORE_ALL, claim_id
from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.lockstep import sweep_all
from nuska.testing.opening import open_by_url

T = TypeVar("T")
NewUrl = Callable[[], str]

WORK, DEAD = QueueRef("acme", "work"), QueueRef("acme", "dead")
PLENTY = 1000
POSITION_DIGITS = 14
FURTHEST = 5_000
"""Milliseconds by which the second clock is behind at most."""

# Few and alike, so that ends coincide with one another and with either clock.
queues = st.sampled_from([WORK, WORK, WORK, DEAD])
nodes = st.sampled_from([0, 1])
lags = st.sampled_from([1, 3, 3, 999, 2000, FURTHEST])
spans = st.sampled_from([1, 3, 1000, 2000, 5000]).map(Duration)
lives = st.sampled_from([3_600_000, 3_600_000, 5000, 2000, 1000]).map(Duration)
delays = st.sampled_from([0, 0, 0, 3, 1000, 5000]).map(Duration)
limits = st.sampled_from([1, 2, PLENTY, PLENTY])
picks = st.integers(0, 99)
meanwhiles = st.sampled_from(
    ["nothing", "sweep", "look", "claim", "bury", "pop", "renew", "release"]
)
at_an_end: dict[str, Any] = {
    "over": st.integers(0, 2),
    "first": meanwhiles,
    "then": meanwhiles,
    "pick": picks,
}


class Known(Struct):
    """What the store has said of a message that is there."""

    queue: QueueRef
    available_at: int
    ends: int
    count: int = 0
    claim: str | None = None


class Lease(Struct):
    queue: QueueRef
    started_at: int
    ends: int


class TwoClocks(RuleBasedStateMachine):
    """Subclass it and override ``open_nodes``."""

    async def open_nodes(self, now: Moment) -> Sequence[Store]:
        """Two nodes that have an empty store open; the same one twice, if it is not shared."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.lag = 3
        self.nodes = self.run(self.open_nodes(self.clock.now()))
        self.known: dict[str, Known] = {}
        self.gone: set[str] = set()
        self.leases: dict[str, Lease] = {}
        self.last: dict[QueueRef, str] = {}
        """The highest position that a post to the queue was given."""
        self.claims = 0

    def teardown(self) -> None:
        async def close() -> None:
            for node in self.nodes:
                await node.close()

        self.run(close())
        self.runner.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def now(self, node: int) -> Moment:
        """What the clock of a node says. The first is never behind, so nothing that has
        happened was later than it says."""
        return Moment(self.clock.now() - self.lag * node)

    def lease(self, pick: int) -> str | None:
        return list(self.leases)[-1 - pick % len(self.leases)] if self.leases else None

    def message(self, pick: int) -> str | None:
        return list(self.known)[pick % len(self.known)] if self.known else None

    # ---------------------------------------------------------------------------- posting

    @initialize(node=nodes)
    def begin_with_something(self, node: int) -> None:
        self.post(node, WORK, [(Duration(3_600_000), Duration(0))] * 3)

    @rule(
        node=nodes,
        queue=queues,
        drafts=st.lists(st.tuples(lives, delays), min_size=1, max_size=3),
    )
    def post(self, node: int, queue: QueueRef, drafts: list[tuple[Duration, Duration]]) -> None:
        store, now = self.nodes[node], self.now(node)
        news = [NewMessage(body=b"1", ttl=ttl, delay=delay) for ttl, delay in drafts]
        ids = self.run(store.messages.add(queue, news, now=now)).ids
        assert ids == sorted(ids)
        assert ids[0][:POSITION_DIGITS] > self.last.get(queue, ""), "posts are out of order"
        self.last[queue] = ids[-1][:POSITION_DIGITS]
        there = {m.id: m for m in self.run(store.messages.get(queue, ids, now=now))}
        for one, (ttl, delay) in zip(ids, drafts, strict=True):
            # The shortest-lived may be over in the eyes of who looks; then bounds must do.
            begun = there[one].created_at if one in there else now
            self.known[one] = Known(queue, begun + delay, begun + ttl)

    # ----------------------------------------------------------------------------- claims

    @rule(node=nodes, queue=queues, limit=limits, ttl=spans, grace=spans | st.just(Duration(0)))
    def claim(self, node: int, queue: QueueRef, limit: int, ttl: Duration, grace: Duration) -> None:
        self._claim(node, queue, limit, ttl, grace, None)

    @rule(node=nodes, limit=limits, ttl=spans, most=st.integers(1, 2))
    def claim_what_is_not_tired(self, node: int, limit: int, ttl: Duration, most: int) -> None:
        self._claim(node, WORK, limit, ttl, Duration(0), most)

    def _claim(
        self,
        node: int,
        queue: QueueRef,
        limit: int,
        ttl: Duration,
        grace: Duration,
        most: int | None,
    ) -> None:
        store, now = self.nodes[node], self.now(node)
        new_id = claim_id(self.claims.to_bytes(12))
        self.claims += 1
        letters = None if most is None else DeadLetterRule(max_claims=most, queue=DEAD)
        claimed = self.run(
            store.claims.create(
                queue,
                claim_id=new_id,
                limit=limit,
                ttl=ttl,
                grace=grace,
                dead_letters=letters,
                now=now,
            )
        )
        if claimed.dead_lettered:
            self._follow(claimed.dead_lettered)
        got: set[str] = {message.id for message in claimed.messages}
        if limit == PLENTY:
            self._nothing_is_missing(queue, got, now)
        for message in claimed.messages:
            self._is_claimed(queue, new_id, message, message.available_at - ttl)

    def _is_claimed(self, queue: QueueRef, claim: str, message: Message, begins: int) -> None:
        assert message.id not in self.gone, "claimed after its end"
        known = self.known[message.id]
        assert known.queue == queue
        assert begins >= known.available_at, f"claimed {known.available_at - begins} ms too early"
        assert begins < known.ends, f"claimed {begins - known.ends} ms after its end"
        assert message.claim_count == known.count + 1
        known.available_at, known.ends = message.available_at, message.expires_at
        known.count, known.claim = message.claim_count, claim
        self.leases[claim] = Lease(queue, begins, message.available_at)

    def _nothing_is_missing(self, queue: QueueRef, got: set[str], now: Moment) -> None:
        """What is to be had for a clock that is behind, and for one that is not."""
        for one, known in self.known.items():
            to_be_had = known.available_at <= now and known.ends > self.clock.now()
            assert one in got or known.queue != queue or not to_be_had, f"{one} was not to be had"

    def _follow(self, moved: int) -> None:
        """Find messages that are dead letters now."""
        here = [one for one, known in self.known.items() if known.queue == WORK]
        found = self.run(self.nodes[0].messages.get(DEAD, here, now=self.now(0)))
        ended = sum(self.known[one].ends <= self.clock.now() for one in here)
        assert moved - ended <= len(found) <= moved
        left = {m.id for m in self.run(self.nodes[0].messages.get(WORK, here, now=self.now(0)))}
        for letter in found:
            known = self.known[letter.id]
            assert letter.id not in left, "it is in two places"
            assert letter.claim_count == known.count
            known.queue, known.claim = DEAD, None
        newest = [self.last.get(DEAD, "")]
        newest += [f"{letter.position:0{POSITION_DIGITS}x}" for letter in found]
        self.last[DEAD] = max(newest)

    @rule(node=nodes, pick=picks, ttl=spans, grace=spans | st.just(Duration(0)))
    def renew(self, node: int, pick: int, ttl: Duration, grace: Duration) -> None:
        claim = self.lease(pick)
        if claim is None:
            return
        store, now, lease = self.nodes[node], self.now(node), self.leases[claim]
        done = self.run(store.claims.renew(lease.queue, claim, ttl=ttl, grace=grace, now=now))
        held = self.held_by(claim)
        if not done:
            assert lease.ends <= self.clock.now() or not held, "it was live, and not renewed"
            return
        assert lease.ends > now, "it was over, and was renewed"
        found = self.run(store.claims.get(lease.queue, claim, now=now))
        assert found is not None, "it was renewed, and is not there"
        assert found.started_at >= lease.started_at, "a renewal before the claim"
        lease.started_at, lease.ends = found.started_at, found.expires_at
        there: dict[str, Message] = {message.id: message for message in found.messages}
        assert there.keys() <= held
        for one in held:
            if self.known[one].ends > found.started_at:
                assert one in there, "its claim was renewed, and it is not in it"
                self.known[one].available_at = found.expires_at
                self.known[one].ends = there[one].expires_at

    def held_by(self, claim: str) -> set[str]:
        return {one for one, known in self.known.items() if known.claim == claim}

    @rule(node=nodes, pick=picks, uncount=st.booleans())
    def release(self, node: int, pick: int, uncount: bool) -> None:
        claim = self.lease(pick)
        if claim is None:
            return
        now, lease = self.now(node), self.leases.pop(claim)
        freed = self.run(
            self.nodes[node].claims.release(lease.queue, claim, uncount=uncount, now=now)
        )
        for one in self.held_by(claim):
            known = self.known[one]
            if lease.ends > self.clock.now() or freed:  # else it had ended before
                known.available_at = max(now, lease.started_at)
                known.count -= uncount
            known.claim = None

    # ------------------------------------------------------------------------ taking away

    @rule(node=nodes, queue=queues, limit=limits)
    def pop(self, node: int, queue: QueueRef, limit: int) -> None:
        now = self.now(node)
        popped = self.run(self.nodes[node].messages.pop(queue, limit=limit, now=now))
        if limit == PLENTY:
            self._nothing_is_missing(queue, {message.id for message in popped}, now)
        for message in popped:
            assert message.id not in self.gone, "popped after its end"
            known = self.known.pop(message.id)
            assert known.available_at <= self.clock.now(), "popped while it was claimed or delayed"
            assert known.ends > now, "popped after its end"
            self.gone.add(message.id)

    @rule(node=nodes, pick=picks, names_its_claim=st.booleans())
    def delete(self, node: int, pick: int, names_its_claim: bool) -> None:
        one = self.message(pick)
        if one is None:
            return
        now, known = self.now(node), self.known[one]
        named = known.claim if names_its_claim else None
        outcome = self.run(
            self.nodes[node].messages.delete(known.queue, one, claim_id=named, now=now)
        )
        match outcome:
            case DeleteOutcome.DELETED:
                assert (
                    named is not None
                    or known.available_at <= self.clock.now()
                    or (known.claim is None)
                ), "it was in a claim"
                self.gone.add(one)
                del self.known[one]
            case DeleteOutcome.MISSING:
                # It may still be there for a clock that is behind: a refusal leaves no mark.
                assert known.ends <= self.clock.now(), "it is lost"

    # --------------------------------------------------------------- what changes nothing

    @rule(node=nodes)
    def sweep(self, node: int) -> None:
        self.run(sweep_all(self.nodes[node], self.now(node)))

    @rule(node=nodes, queue=queues, everything=st.booleans())
    def look(self, node: int, queue: QueueRef, everything: bool) -> None:
        store, now = self.nodes[node], self.now(node)
        page = self.run(
            store.messages.page(
                queue,
                after=BEFORE_ALL,
                limit=PLENTY,
                include_claimed=everything,
                include_delayed=everything,
                now=now,
            )
        )
        self.run(store.queues.stats(queue, now=now))
        seen = {message.id for message in page.messages}
        assert not seen & self.gone, "listed after its end"
        for one, known in self.known.items():
            to_be_seen = everything or known.available_at <= now
            if known.queue == queue and known.ends > self.clock.now():
                assert one in seen or not to_be_seen, "it is lost"
                assert one not in seen or everything or known.available_at <= self.clock.now()

    @rule(step=st.sampled_from([1, 3, 997, 999, 1000, 1000, 2000, 5000]))
    def advance(self, step: int) -> None:
        self.clock.advance(milliseconds=step)

    @rule(node=nodes, ttl=spans, **at_an_end)
    def claim_and_meet_at_its_end(
        self, node: int, ttl: Duration, over: int, first: str, then: str, pick: int
    ) -> None:
        self.claim(node, WORK, 1 + pick % 3, ttl, Duration(0))
        self.meet_at_an_end(over, first, then, pick)

    @rule(life=lives, delay=delays, **at_an_end)
    def post_and_meet_at_its_end(
        self, life: Duration, delay: Duration, over: int, first: str, then: str, pick: int
    ) -> None:
        self.post(0, WORK, [(life, delay)])
        self.meet_at_an_end(over, first, then, pick)

    @rule(**at_an_end)
    def meet_at_an_end(self, over: int, first: str, then: str, pick: int) -> None:
        """Something ends by the clock that is right, and not yet by the other."""
        here = self.clock.now()
        ends = {end for one in self.known.values() for end in (one.available_at, one.ends)}
        later = [end for end in ends if end > here]
        if later:
            self.advance(min(later) - here + over)
            self._meanwhile(first, 0, pick)
            self._meanwhile(then, 1, pick)
            self.claim(1, WORK, PLENTY, Duration(1000), Duration(0))

    def _meanwhile(self, what: str, node: int, pick: int) -> None:
        match what:
            case "sweep":
                self.sweep(node)
            case "look":
                self.look(node, WORK, True)
            case "claim":
                self.claim(node, WORK, 1, Duration(2000), Duration(3))
            case "bury":
                self.claim_what_is_not_tired(node, PLENTY, Duration(1000), 1)
            case "pop":
                self.pop(node, WORK, 1)
            case "renew":
                self.renew(node, pick, Duration(2000), Duration(0))
            case "release":
                self.release(node, pick, False)

    @rule(lag=lags)
    def drift(self, lag: int) -> None:
        """How far the second clock is behind; it stands still, but never goes back."""
        if lag > self.lag:
            self.clock.advance(milliseconds=lag - self.lag)
        self.lag = lag


def nodes_at(new_url: NewUrl) -> type[TwoClocks]:
    """The machine for a shared store, of which ``new_url`` names an empty one each time."""

    class OfUrl(TwoClocks):
        async def open_nodes(self, now: Moment) -> Sequence[Store]:
            url = new_url()
            return [
                await open_by_url(url, now=now, random_bytes=seeded_bytes(number))
                for number in range(2)
            ]

    return OfUrl
