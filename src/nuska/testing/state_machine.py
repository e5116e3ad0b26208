"""Any store beside the model store, call by call, on one clock and equal random bytes.

Hypothesis chooses the calls. After each, both stores must have answered the same, to the
id and the millisecond, and must show the same queue. A driver's test subclasses
``Lockstep`` and says how its store is opened; nothing here knows which one it is.

Two things are not compared, because the promises leave them open: an ``available_at`` that
has passed, and the number in ``Queue.version`` (its effect is). Counts per queue stay far
below the bounds of one call (``DUE_PER_CLAIM`` and the like), within which answers are exact.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)
from msgspec import Struct
from msgspec.structs import replace

from nuska.domain.claims import Claim, Claimed, DeadLetterRule
from nuska.domain.errors import NuskaError
from nuska.domain.messages import Added, Idempotency, Message, NewMessage, Page, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import BEFORE_ALL, Position, claim_id
from nuska.domain.queues import Metadata, Queue
from nuska.interfaces.storage import RandomBytes, Store
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes

T = TypeVar("T")
Call = Callable[[Store], Awaitable[T]]

QUEUES = [QueueRef(project, name) for project in ("acme", "other") for name in ("a", "b", "dead")]
BUSY, DEAD = QUEUES[0], QUEUES[2]
PLENTY = 1000
SWEEPS_AT_MOST = 1000
NO_CLAIM = ["f" * 24, "malformed", ""]
NO_MESSAGE = ["0" * 32, "malformed", ""]


Draft = tuple[Duration, Duration, bytes | None]
"""Ttl, delay and attributes of a message to post."""


class Both(Struct, frozen=True):
    """What each store answered, to be handed back to it."""

    queue: QueueRef
    model: Any
    other: Any


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


class Lockstep(RuleBasedStateMachine):
    """The machine; subclass it and override ``open_other``."""

    durable: ClassVar[bool] = False
    """The other store keeps its data when closed; it is then reopened now and then."""

    popped = Bundle("popped")

    async def open_other(self, now: Moment, random_bytes: RandomBytes) -> Store:
        """Open the store under test; called again after a close if it is durable."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.lag = 0
        """How far the callers' clock has been set back."""
        self.other_bytes = seeded_bytes()
        self.model: Store = MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes())
        self.other: Store = self.runner.run(self.open_other(self.clock.now(), self.other_bytes))
        self.touched: set[QueueRef] = set()
        self.ids: list[str] = list(NO_MESSAGE)
        """Every message id there ever was, and some that never were."""
        self.claim_ids: list[str] = list(NO_CLAIM)
        self.markers: list[Position] = [BEFORE_ALL]
        self.stale: Both | None = None
        """A queue as read some time ago."""
        self.bodies = 0
        self.has_moved = False

    def teardown(self) -> None:
        try:
            self.touched.update(QUEUES)
            self.both_show_the_same()
            for project in ("acme", "other"):
                self._list(project)
        finally:
            self.runner.run(self.other.close())
            self.runner.close()

    @property
    def now(self) -> Moment:
        """What the caller's clock says."""
        return Moment(self.clock.now() - self.lag)

    def ask(self, queue: QueueRef, call: Call[T]) -> Both:
        """Make one call on both stores; their answers must be equal."""
        self.touched.add(queue)
        model = self.runner.run(outcome(self.model, call))
        other = self.runner.run(outcome(self.other, call))
        latest = self.clock.now()
        assert comparable(other, latest) == comparable(model, latest)
        return Both(queue, model, other)

    def stored(self, queue: QueueRef) -> list[Message]:
        """What the model has in ``queue``, claimed and delayed messages too."""
        page = self.model.messages.page(
            queue,
            after=BEFORE_ALL,
            limit=PLENTY,
            include_claimed=True,
            include_delayed=True,
            now=self.now,
        )
        return self.runner.run(_finished(page)).messages

    def message(self, queue: QueueRef, pick: int) -> str:
        """A message of ``queue``, or one pick in ten any id at all."""
        there = self.stored(queue)
        ids = [m.id for m in there] if there and pick % 10 else self.ids
        return ids[pick % len(ids)]

    def claim_of(self, queue: QueueRef, pick: int) -> str:
        """A live claim of ``queue`` that holds something, or one pick in five any id at all."""
        live = [m.claim_id for m in self.stored(queue) if m.claim_id is not None]
        ids = list(dict.fromkeys(live)) if live and pick % 5 else self.claim_ids
        return ids[pick % len(ids)]

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

    @rule(taken=popped)
    def put_back(self, taken: Both) -> None:
        """Perhaps late, perhaps twice."""
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

    # ------------------------------------------------------------------------- comparison

    @invariant()
    def both_show_the_same(self) -> None:
        for queue in sorted(self.touched, key=QUEUES.index):
            self._show(queue)
        self.touched.clear()

    def _show(self, queue: QueueRef) -> None:
        def everything(store: Store) -> Awaitable[Page]:
            return store.messages.page(
                queue,
                after=BEFORE_ALL,
                limit=PLENTY,
                include_claimed=True,
                include_delayed=True,
                now=self.now,
            )

        def available(store: Store) -> Awaitable[Page]:
            return store.messages.page(queue, after=BEFORE_ALL, limit=PLENTY, now=self.now)

        stored = self.ask(queue, everything).model.messages
        ready = self.ask(queue, available).model.messages
        stats = self.ask(queue, lambda store: store.queues.stats(queue, now=self.now)).model
        assert stats.ready == len(ready)
        assert stats.ready + stats.delayed + stats.claimed == len(stored)
        self.ask(queue, lambda store: store.messages.next_due(queue, now=self.now))
        self.ask(queue, lambda store: store.queues.get(queue))

    def _list(self, project: str) -> None:
        anywhere = QueueRef(project, "a")
        self.ask(anywhere, lambda store: store.queues.page(project, after=None, limit=PLENTY))
        self.ask(anywhere, lambda store: store.queues.count(project))


async def _finished(call: Awaitable[T]) -> T:
    return await call


async def outcome(store: Store, call: Call[T]) -> T | type[NuskaError]:
    """What the call returned, or the kind of refusal it raised."""
    try:
        return await call(store)
    except NuskaError as refusal:
        return type(refusal)


async def sweep_all(store: Store, now: Moment) -> None:
    for _ in range(SWEEPS_AT_MOST):
        if not (await store.sweep(now=now)).more:
            return
    raise AssertionError(f"sweeping had not ended after {SWEEPS_AT_MOST} steps")


def comparable(answer: object, now: Moment) -> object:
    """``answer`` without what the promises leave open."""
    match answer:
        case Message():
            return replace(answer, available_at=max(answer.available_at, now))
        case Page() | Claim() | Claimed():
            return replace(answer, messages=comparable(answer.messages, now))
        case Queue():
            return replace(answer, version=0)
        case str() | bytes():
            return answer
        case Sequence():
            return [comparable(one, now) for one in answer]
        case _:
            return answer
