"""What is asked of two stores: any call in any order, as Hypothesis chooses.

A driver's test subclasses ``Lockstep`` and says how its store is opened; nothing here knows
which one it is. Messages per queue stay far below the bounds of one call (``DUE_PER_CLAIM``
and the like), within which answers are exact.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, consumes, initialize, multiple, precondition, rule

from nuska.domain.claims import Claim, DeadLetterRule
from nuska.domain.messages import Added, Idempotency, NewMessage, QueueRef
from nuska.domain.moments import Duration
from nuska.domain.positions import BEFORE_ALL, claim_id
from nuska.domain.queues import Metadata
from nuska.testing.lockstep import (
    NO_CLAIM,
    QUEUES,
    Both,
    TwoStores,
    carry_in_place,
    sweep_all,
)

BUSY, DEAD = QUEUES[0], QUEUES[2]

Draft = tuple[Duration, Duration, bytes | None]
"""Ttl, delay and attributes of a message to post."""

# Most calls meet in one queue and on what is there, else too little happens between them.
queues = st.sampled_from([*[BUSY] * 15, *[DEAD] * 5, *QUEUES])
strays = st.sampled_from([*[None] * 9, *QUEUES])
"""Another queue than the one an id came from, now and then."""
picks = st.integers(0, 99)
"""Which message or claim: see ``message`` and ``claim_of``."""
# Few and alike, so that ends coincide with one another and with the clock.
spans = st.sampled_from([1, 1000, 2000, 5000, 60_000]).map(Duration)
lives = st.sampled_from([3_600_000, 3_600_000, 3_600_000, 600_000, 5000, 1000]).map(Duration)
delays = st.sampled_from([0, 0, 0, 0, 0, 1, 1000, 5000, 600_000]).map(Duration)
limits = st.sampled_from([1, 2, 3, 20])
posters = st.sampled_from([b"", b"me", b"you"])
metadata = st.sampled_from([{}, {"n": 1}, {"n": "1"}, {"n": True, "m": None}])
drafts = st.lists(
    st.tuples(lives, delays, st.sampled_from([None, b'{"k": 1}'])), min_size=1, max_size=4
)
keys = st.sampled_from([None, None, "k", "l"])
fingerprints = st.sampled_from([b"one", b"one", b"one", b"two"])
dead_letter_rules = st.none() | st.tuples(
    st.integers(0, 2), st.sampled_from(["dead", "dead", "dead", "a", "b"]), st.none() | lives
)
seldom = st.sampled_from(["purge", "delete", "create", "page", "no claim", "metadata", "stale"])


meanwhiles = st.sampled_from(["nothing", "purge", "delete", "create", "post", "time", "sweep"])


class Lockstep(TwoStores):
    """The machine; subclass it and override ``open_other``."""

    popped = Bundle("popped")

    # ------------------------------------------------------------------ posting and reading

    @rule(queue=queues, drafts=drafts, poster=posters, key=keys, fingerprint=fingerprints)
    def post(
        self,
        queue: QueueRef,
        drafts: list[Draft],
        poster: bytes,
        key: str | None,
        fingerprint: bytes,
    ) -> None:
        messages = [self._draft(*draft) for draft in drafts]
        promise = None if key is None else Idempotency(key, fingerprint)
        added = self.ask(
            queue,
            lambda store: store.messages.add(
                queue, messages, poster=poster, idempotency=promise, now=self.now
            ),
        ).model
        if isinstance(added, Added):
            self.ids += added.ids

    @initialize(first=drafts, second=drafts)
    def begin_with_something(self, first: list[Draft], second: list[Draft]) -> None:
        self.post(BUSY, first, b"me", "k", b"one")
        self.post(BUSY, second, b"you", None, b"")

    @rule(queue=queues, drafts=drafts)
    def post_without_a_key(self, queue: QueueRef, drafts: list[Draft]) -> None:
        self.post(queue, drafts, b"me", None, b"")

    @rule(
        queue=queues,
        drafts=drafts,
        key=st.sampled_from(["k", "l"]),
        meanwhile=meanwhiles,
        fingerprint=fingerprints,
    )
    def post_again(
        self, queue: QueueRef, drafts: list[Draft], key: str, meanwhile: str, fingerprint: bytes
    ) -> None:
        """What a producer does that got no answer."""
        self.post(queue, drafts, b"me", key, b"one")
        self._meanwhile(meanwhile, queue)
        self.post(queue, drafts, b"me", key, fingerprint)

    def _meanwhile(self, what: str, queue: QueueRef) -> None:
        match what:
            case "purge" | "delete" | "create":
                self.do_what_is_seldom(what, queue, {}, False, 1)
            case "post":
                self.post_without_a_key(queue, [(Duration(60_000), Duration(0), None)])
            case "time":
                self.advance(600_000)
            case "sweep":
                self.sweep()

    def _draft(self, ttl: Duration, delay: Duration, attributes: bytes | None) -> NewMessage:
        self.bodies += 1
        return NewMessage(body=b"%d" % self.bodies, ttl=ttl, delay=delay, attributes=attributes)

    @rule(
        queue=queues,
        after=picks,
        limit=limits,
        hide=st.sampled_from([b"me", b"you", None, b""]),
        claimed=st.booleans(),
        delayed=st.booleans(),
    )
    def page(
        self,
        queue: QueueRef,
        after: int,
        limit: int,
        hide: bytes | None,
        claimed: bool,
        delayed: bool,
    ) -> None:
        page = self.ask(
            queue,
            lambda store: store.messages.page(
                queue,
                after=self.markers[after % len(self.markers)] if after % 3 else BEFORE_ALL,
                limit=limit,
                hide_poster=hide,
                include_claimed=claimed,
                include_delayed=delayed,
                now=self.now,
            ),
        ).model
        self.markers.append(page.marker)

    @rule(queue=queues, wanted=st.lists(picks, min_size=1, max_size=4), stray=strays)
    def look_up(self, queue: QueueRef, wanted: list[int], stray: QueueRef | None) -> None:
        """By id: messages, the position of the first, and a claim."""
        ids = [self.message(queue, pick) for pick in wanted]
        claim = self.claim_of(queue, wanted[0])
        where = stray or queue
        found = self.ask(where, lambda store: store.messages.get(where, ids, now=self.now)).model
        self.ask(where, lambda store: store.claims.get(where, claim, now=self.now))
        # An id that has moved means its new place only while the message exists.
        if not self.has_moved or ids[0] in {m.id for m in found}:
            marked = self.ask(where, lambda store: store.messages.position_of(where, ids[0])).model
            self.markers += [marked] if marked is not None else []

    # --------------------------------------------------------------------------- claims

    @rule(
        queue=queues,
        limit=limits,
        ttl=spans,
        grace=spans | st.just(Duration(0)),
        dead=dead_letter_rules,
    )
    def claim(
        self,
        queue: QueueRef,
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead: tuple[int, str, Duration | None] | None,
    ) -> None:
        new_id = claim_id(len(self.claim_ids).to_bytes(12, "big"))
        self.claim_ids.append(new_id)
        letters = None
        if dead is not None:
            target = QueueRef(queue.project, dead[1])
            letters = DeadLetterRule(max_claims=dead[0], queue=target, ttl=dead[2])
            self.touched.add(target)
        claimed = self.ask(
            queue,
            lambda store: store.claims.create(
                queue,
                claim_id=new_id,
                limit=limit,
                ttl=ttl,
                grace=grace,
                dead_letters=letters,
                now=self.now,
            ),
        ).model
        self.has_moved = self.has_moved or claimed.dead_lettered > 0

    @rule(queue=queues, limit=limits)
    def claim_for_a_minute(self, queue: QueueRef, limit: int) -> None:
        self.claim(queue, limit, Duration(60_000), Duration(60_000), None)

    @rule(limit=limits, ttl=st.none() | lives)
    def claim_what_is_left(self, limit: int, ttl: Duration | None) -> None:
        """Everything that was ever claimed dies, the rest is handed out."""
        self.claim(BUSY, limit, Duration(1000), Duration(0), (1, "dead", ttl))

    @rule(queue=queues, pick=picks, stray=strays, ttl=spans, grace=spans)
    def renew(
        self, queue: QueueRef, pick: int, stray: QueueRef | None, ttl: Duration, grace: Duration
    ) -> None:
        claim, where = self.claim_of(queue, pick), stray or queue
        self.ask(
            where,
            lambda store: store.claims.renew(where, claim, ttl=ttl, grace=grace, now=self.now),
        )

    @rule(queue=queues, pick=picks, stray=strays, uncount=st.booleans())
    def release(self, queue: QueueRef, pick: int, stray: QueueRef | None, uncount: bool) -> None:
        claim, where = self.claim_of(queue, pick), stray or queue
        self.ask(
            where,
            lambda store: store.claims.release(where, claim, uncount=uncount, now=self.now),
        )

    # ------------------------------------------------------------------------ taking away

    @rule(queue=queues, pick=picks, named=st.none() | picks, stray=strays)
    def delete(self, queue: QueueRef, pick: int, named: int | None, stray: QueueRef | None) -> None:
        message = self.message(queue, pick)
        claim = None if named is None else self.claim_of(queue, named)
        where = stray or queue
        self.ask(
            where,
            lambda store: store.messages.delete(where, message, claim_id=claim, now=self.now),
        )

    @rule(queue=queues, pick=picks, which=st.integers(0, 3))
    def finish(self, queue: QueueRef, pick: int, which: int) -> None:
        """What a worker does: delete a message of its claim, naming it."""
        claim = self.claim_of(queue, pick)
        held = self.ask(queue, lambda store: store.claims.get(queue, claim, now=self.now)).model
        if isinstance(held, Claim) and held.messages:
            done = held.messages[which % len(held.messages)].id
            self.ask(
                queue,
                lambda store: store.messages.delete(queue, done, claim_id=claim, now=self.now),
            )

    @rule(
        queue=queues,
        wanted=st.lists(picks, min_size=1, max_size=3),
        named=st.none() | st.lists(picks, max_size=3),
        stray=strays,
    )
    def delete_many(
        self,
        queue: QueueRef,
        wanted: list[int],
        named: list[int] | None,
        stray: QueueRef | None,
    ) -> None:
        where = stray or queue
        ids = [self.message(queue, pick) for pick in wanted]
        claims = None if named is None else [self.claim_of(queue, pick) for pick in named]
        self.ask(
            where,
            lambda store: store.messages.delete_many(where, ids, claim_ids=claims, now=self.now),
        )

    @rule(target=popped, queue=queues, limit=limits)
    def pop(self, queue: QueueRef, limit: int) -> Any:
        taken = self.ask(queue, lambda store: store.messages.pop(queue, limit=limit, now=self.now))
        return taken if taken.model else multiple()

    @rule(queue=queues, limit=limits, first=meanwhiles, then=meanwhiles)
    def pop_and_put_back(self, queue: QueueRef, limit: int, first: str, then: str) -> None:
        taken = self.ask(queue, lambda store: store.messages.pop(queue, limit=limit, now=self.now))
        self._meanwhile(first, queue)
        self._meanwhile(then, queue)
        self.put_back(taken)

    @rule(taken=consumes(popped))
    def put_back(self, taken: Both) -> None:
        """Perhaps late; what became of the queue meanwhile decides."""
        self.ask(
            taken.queue,
            lambda store: store.messages.put_back(
                taken.queue, taken.model if store is self.model else taken.other, now=self.now
            ),
        )

    # ----------------------------------------------------------------------------- queues

    @rule(what=seldom, queue=queues, given=metadata, relaxed=st.booleans(), limit=limits)
    def do_what_is_seldom(
        self, what: str, queue: QueueRef, given: Metadata, relaxed: bool, limit: int
    ) -> None:
        match what:
            case "purge":
                self.ask(queue, lambda store: store.queues.purge(queue, now=self.now))
            case "delete":
                self.ask(queue, lambda store: store.queues.delete(queue, now=self.now))
            case "create":
                self.ask(
                    queue,
                    lambda store: store.queues.create(queue, given, relaxed=relaxed, now=self.now),
                )
            case "page":
                self._page_queues(queue, given or None, limit)
            case "no claim":
                self._ask_for_no_claim(queue)
            case _:
                self._replace_metadata(queue, given, relaxed, stale=what == "stale")

    def _page_queues(self, queue: QueueRef, pairs: Metadata | None, limit: int) -> None:
        for after in (None, queue.name):
            self.ask(
                queue,
                lambda store, after=after: store.queues.page(  # type: ignore[misc]
                    queue.project,
                    after=after,
                    limit=limit,
                    name_contains="a" if limit == 1 else None,
                    metadata_equals=pairs,
                ),
            )

    def _ask_for_no_claim(self, queue: QueueRef) -> None:
        second = Duration(1000)
        for claim in NO_CLAIM:
            self.ask(
                queue,
                lambda store, claim=claim: store.claims.renew(  # type: ignore[misc]
                    queue, claim, ttl=second, grace=second, now=self.now
                ),
            )

    def _replace_metadata(
        self, queue: QueueRef, given: Metadata, relaxed: bool, *, stale: bool
    ) -> None:
        if self.stale is None or not stale:
            read = self.ask(queue, lambda store: store.queues.get(queue))
            self.stale = read if read.model is not None else self.stale
        seen = self.stale
        if seen is not None:
            self.ask(
                seen.queue,
                lambda store: store.queues.replace_metadata(
                    seen.model if store is self.model else seen.other,
                    given,
                    relaxed=relaxed,
                    now=self.now,
                ),
            )

    # ------------------------------------------------------------------------------- time

    @rule(step=st.sampled_from([1000, 1, 999, 1000, 2000, 1, 999, 5000, 60_000, 60_000, 600_000]))
    def advance(self, step: int) -> None:
        self.clock.advance(milliseconds=step)
        self.lag = 0
        self.touched.update(QUEUES)

    @rule(queue=queues, short_of=st.sampled_from([0, 0, 1]))
    def advance_until_due(self, queue: QueueRef, short_of: int) -> None:
        """To the very millisecond at which something becomes available, or the one before."""
        due = self.ask(queue, lambda store: store.messages.next_due(queue, now=self.now)).model
        if due is not None and due - short_of > self.clock.now():
            self.advance(due - short_of - self.clock.now())

    @rule(lag=st.sampled_from([500, 5000]))
    def set_the_clock_back(self, lag: int) -> None:
        self.sweep()  # which lets both stores see the present first
        self.lag = lag

    @rule()
    def sweep(self) -> None:
        self.runner.run(sweep_all(self.model, self.now))
        self.runner.run(sweep_all(self.other, self.now))
        self.touched.update(QUEUES)

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self) -> None:
        """A little later, as it is in life: positions given in the last millisecond need not
        be remembered one by one."""
        self.advance(1)
        self.runner.run(self.other.close())
        self.other = self.runner.run(self.open_other(self.clock.now(), self.other_bytes))


class LockstepWithCarriages(Lockstep):
    """The same for a store that can be a pool: its queues are also carried out and in again."""

    @rule(queue=queues)
    def carry(self, queue: QueueRef) -> None:
        """Nobody can tell afterwards, but for those who read the metadata before."""
        self.epoch += 1
        self.ask(
            queue,
            lambda store: carry_in_place(store, queue, epoch=self.epoch, now=self.now),
        )
