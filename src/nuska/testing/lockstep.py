"""Two stores side by side: asked the same, on one clock, with equal random bytes.

Every answer must be the same, to the id and the millisecond, and after each step both must
show the same queues. What is asked, and when, is ``state_machine.py``'s affair.

Two things are not compared, because the promises leave them open: an ``available_at`` that
has passed, and the number in ``Queue.version`` (its effect is).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant
from msgspec import Struct
from msgspec.structs import replace

from nuska.domain.claims import Claim, Claimed
from nuska.domain.errors import NuskaError
from nuska.domain.messages import Message, Page, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.domain.queues import Queue
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.storage import RandomBytes, Store
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes

T = TypeVar("T")
Call = Callable[[Store], Awaitable[T]]

QUEUES = [QueueRef(project, name) for project in ("acme", "other") for name in ("a", "b", "dead")]
PLENTY = 1000
SWEEPS_AT_MOST = 1000
NO_CLAIM = ["f" * 24, "malformed", ""]
NO_MESSAGE = ["0" * 32, "malformed", ""]


class Both(Struct, frozen=True):
    """What each store answered, to be handed back to it."""

    queue: QueueRef
    model: Any
    other: Any


class TwoStores(RuleBasedStateMachine):
    """The model store and another one, which a subclass opens."""

    durable: ClassVar[bool] = False
    """The other store keeps its data when closed; it is then reopened now and then."""

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
        self.epoch = 0
        """Of the last queue that was carried."""
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
        theirs, right = comparable(other, latest), comparable(model, latest)
        assert theirs == right, f"answered {theirs}\nwhere the model answers {right}"
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


async def carry_in_place(
    store: Store, queue: QueueRef, *, epoch: int, now: Moment
) -> list[Message] | None:
    """Take a queue out of its store and put it back as it was; what it held."""
    assert isinstance(store, PoolableStore)
    transfers = store.transfers
    if await transfers.outline(queue) is None:
        return None
    await transfers.fence(queue, epoch=epoch, now=now)
    outline = await transfers.outline(queue)
    assert outline is not None
    claims = await transfers.dump_claims(queue, after="", limit=PLENTY)
    posts = await transfers.dump_posts(queue, after="", limit=PLENTY)
    messages = await transfers.dump(queue, after=BEFORE_ALL, limit=PLENTY, now=now)
    log = []
    if outline.logged:
        log = await transfers.dump_log(queue, after=BEFORE_ALL, limit=PLENTY, now=now)
    await transfers.begin(queue, outline, epoch=epoch, now=now)
    await transfers.load(queue, messages=messages, epoch=epoch, now=now)
    await transfers.load(queue, claims=claims, posts=posts, epoch=epoch, now=now)
    if log:
        await transfers.load(queue, log=log, epoch=epoch, now=now)
    await transfers.open(queue, epoch=epoch, now=now)
    return messages


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
