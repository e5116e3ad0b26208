"""Quotas on what a project stores, by way of the core: exact on one node, whatever the store.

With several nodes on a store, at most one lot for each of the others goes beyond (I22).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest

from nuska.core import Core, allowances, build_core
from nuska.core.claims import ClaimTerms
from nuska.core.messages import Draft
from nuska.core.subscription_making import SubscriptionDraft
from nuska.domain.allowances import SHARES
from nuska.domain.errors import QuotaExceeded
from nuska.domain.internal import internal
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.quotas import Override, Quota
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import HOUR, Conformance
from nuska.testing.opening import opening_stores

ACME = Caller("acme")
CLIENTS = 8
QUEUES = ("one", "two", "three")
HOOK = "https://hooks.example.net/in"

Act = Callable[[int], Awaitable[object]]


def body(size: int) -> Draft:
    """A body of so many bytes."""
    return Draft(body=b'"' + b"x" * (size - 2) + b'"')


async def allowed(acts: Iterable[Awaitable[object]]) -> tuple[int, set[str]]:
    """How many of these, done side by side, were not refused; the limits named by the others."""
    done = await asyncio.gather(*acts, return_exceptions=True)
    named = {one.what for one in done if isinstance(one, QuotaExceeded)}
    for one in done:
        if isinstance(one, BaseException) and not isinstance(one, QuotaExceeded):
            raise one
    return sum(not isinstance(one, QuotaExceeded) for one in done), named


async def stored(core: Core, *names: str) -> int:
    """Messages in these queues."""
    total = 0
    for name in names or QUEUES:
        stats = (await core.queues.stats(ACME, name)).stats
        total += stats.ready + stats.delayed + stats.claimed
    return total


class QuotaConformance(Conformance):
    @pytest.fixture(autouse=True)
    def restless(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However slow the machine is, what was taken away gives room at once."""
        monkeypatch.setattr(allowances, "REST", 0.0)

    @pytest.fixture
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What there is no room for is measured anew each time, not once a second."""
        monkeypatch.setattr(allowances, "FULL_FOR", 0.0)


class StockQuotaConformance(QuotaConformance):
    async def test_clients_side_by_side_store_exactly_as_many_messages_as_they_may(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=50))
        posts = [
            core.messages.post(ACME, QUEUES[number % len(QUEUES)], [body(10)])
            for number in range(80)
        ]
        assert await allowed(posts) == (50, {"messages"})
        assert await stored(core) == 50

    async def test_a_batch_is_stored_whole_or_not_at_all(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=20))
        posts = [core.messages.post(ACME, "one", [body(10)] * 3) for _ in range(CLIENTS)]
        assert await allowed(posts) == (6, {"messages"})
        assert await stored(core, "one") == 18
        with pytest.raises(QuotaExceeded, match="messages is limited to 20"):
            await core.messages.post(ACME, "one", [body(10)] * 21)
        await core.messages.post(ACME, "one", [body(10)] * 2)
        assert await stored(core, "one") == 20

    async def test_bytes_are_limited_as_exactly(self, store: Store, clock: ManualClock) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(bytes=1000))
        posts = [
            core.messages.post(ACME, QUEUES[number % len(QUEUES)], [body(90)])
            for number in range(2 * CLIENTS)
        ]
        assert await allowed(posts) == (11, {"bytes"})
        await core.messages.post(ACME, "one", [body(10)])
        with pytest.raises(QuotaExceeded, match="bytes is limited to 1000"):
            await core.messages.post(ACME, "one", [body(2)])
        assert await stored(core) == 12

    @pytest.mark.usefixtures("at_once")
    async def test_what_goes_gives_room(self, store: Store, clock: ManualClock) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=4))

        async def fill() -> list[str]:
            added = await core.messages.post(ACME, "one", [body(10)] * 4)
            with pytest.raises(QuotaExceeded):
                await core.messages.post(ACME, "two", [body(10)])
            return list(added.ids)

        ids = await fill()
        await core.messages.delete(ACME, "one", ids[0])
        await core.messages.delete_many(ACME, "one", ids[1:3])
        await core.messages.pop(ACME, "one", 1)
        await fill()
        await core.queues.purge(ACME, "one", messages=True)
        await fill()
        await core.queues.delete(ACME, "one")
        await fill()
        clock.advance(seconds=core.limits.default_message_ttl)
        await fill()

    async def test_deleting_gives_room_at_once(self, store: Store, clock: ManualClock) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=2))
        for _ in range(5):
            added = await core.messages.post(ACME, "one", [body(10)] * 2)
            with pytest.raises(QuotaExceeded):
                await core.messages.post(ACME, "one", [body(10)])
            await core.messages.delete_many(ACME, "one", list(added.ids))

    async def test_what_is_posted_and_taken_at_once_never_adds_up(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=5))
        for _ in range(20):
            await core.messages.post(ACME, "one", [body(10)])
            assert len(await core.messages.pop(ACME, "one", 1)) == 1

    async def test_a_queue_counts_however_it_is_made(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(queues=4))
        made: list[Act] = [
            lambda number: core.queues.create(ACME, f"made-{number}", {}),
            lambda number: core.messages.post(ACME, f"posted-{number}", [body(10)]),
            lambda number: core.topics.create(ACME, f"topic-{number}", {}),
            lambda number: core.subscriptions.create(
                ACME, f"told-{number}", SubscriptionDraft(subscriber=HOOK)
            ),
        ]
        acts = (make(number) for number in range(CLIENTS) for make in made)
        assert await allowed(acts) == (4, {"queues"})
        queues, topics = await core.queues.count(ACME), await core.topics.count(ACME)
        assert queues + topics == 4

    async def test_one_queue_made_by_many_at_once_counts_once(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(queues=2))
        posts = [core.messages.post(ACME, "one", [body(10)]) for _ in range(CLIENTS)]
        creates = [core.queues.create(ACME, "two", {}) for _ in range(CLIENTS)]
        assert await allowed([*posts, *creates]) == (2 * CLIENTS, set())
        with pytest.raises(QuotaExceeded, match="queues is limited to 2"):
            await core.messages.post(ACME, "three", [body(10)])
        assert await stored(core, "three") == 0
        await core.queues.delete(ACME, "one")
        await core.messages.post(ACME, "three", [body(10)])

    async def test_subscriptions_are_limited(self, store: Store, clock: ManualClock) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(subscriptions=5))

        async def subscribe(number: int) -> object:
            draft = SubscriptionDraft(subscriber=f"{HOOK}/{number}")
            service = core.subscriptions if number % 2 else core.topic_subscriptions
            return await service.create(ACME, QUEUES[number % len(QUEUES)], draft)

        assert await allowed(map(subscribe, range(12))) == (5, {"subscriptions"})
        [first, *_] = [
            (name, found) for name in QUEUES for found in await core.subscriptions.page(ACME, name)
        ]
        name, found = first
        await core.subscriptions.create(ACME, name, SubscriptionDraft(subscriber=found.subscriber))
        await core.subscriptions.delete(ACME, name, found.id)
        await subscribe(20)
        with pytest.raises(QuotaExceeded):
            await subscribe(21)

    async def test_a_refused_subscription_leaves_no_queue_behind(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(subscriptions=0))
        with pytest.raises(QuotaExceeded, match="subscriptions is limited to 0"):
            await core.subscriptions.create(ACME, "one", SubscriptionDraft(subscriber=HOOK))
        assert await core.queues.count(ACME) == 0

    async def test_claims_are_limited_while_they_hold_something(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(claims=3))
        for name in QUEUES:
            await core.messages.post(ACME, name, [body(10)] * 5)
        terms = ClaimTerms(limit=1)

        async def claim(number: int) -> object:
            return await core.claims.create(ACME, QUEUES[number % len(QUEUES)], terms)

        assert await allowed(map(claim, range(10))) == (3, {"claims"})
        for name in QUEUES:  # which of them the three hold, nobody can say
            await core.queues.purge(ACME, name, messages=True)
        await core.messages.post(ACME, "two", [body(10)] * 5)
        taken = await core.claims.create(ACME, "two", terms)
        assert taken is not None
        await core.claims.release(ACME, "two", taken.id)
        for _ in range(4):  # a worker that never releases what it has done
            taken = await core.claims.create(ACME, "two", terms)
            assert taken is not None
            await core.messages.delete(ACME, "two", taken.messages[0].id, taken.id)

    async def test_claims_that_find_nothing_use_nothing_up(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(claims=1))
        for _ in range(5):
            assert await core.claims.create(ACME, "one", ClaimTerms()) is None

    async def test_what_the_service_keeps_for_itself_does_not_count(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=1, queues=1))
        new = NewMessage(body=b"1", ttl=HOUR)
        for kind in ("retries", "attempts", "dead"):
            own = internal(kind, QueueRef("acme", "one"))
            await store.messages.add(own, [new] * 3, now=clock.now())
        await core.messages.post(ACME, "one", [body(10)])
        assert (await core.usage.use("acme"))["messages"] == 1

    async def test_dead_letters_arrive_whatever_the_quota(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(queues=1, messages=1))
        metadata = {"_max_claim_count": 1, "_dead_letter_queue": "graves"}
        await core.queues.create(ACME, "one", metadata)
        await core.messages.post(ACME, "one", [body(10)])
        taken = await core.claims.create(ACME, "one", ClaimTerms())
        assert taken is not None
        await core.claims.release(ACME, "one", taken.id)
        assert await core.claims.create(ACME, "one", ClaimTerms()) is None
        async with asyncio.timeout(10):
            while await stored(core, "graves") != 1:  # another pool, or hash slot
                await store.sweep(now=clock.now())
                await asyncio.sleep(0)
        assert len((await core.redriving.redrive(ACME, "one")).ids) == 1
        assert (await stored(core, "one"), await stored(core, "graves")) == (1, 0)

    async def test_other_projects_have_their_own_quotas(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=1))
        await core.messages.post(ACME, "one", [body(10)])
        await core.messages.post(Caller("globex"), "one", [body(10)])
        with pytest.raises(QuotaExceeded):
            await core.messages.post(ACME, "one", [body(10)])

    async def test_what_is_said_about_a_project_holds_at_once(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock, quota=Quota(messages=2))
        await core.messages.post(ACME, "one", [body(10)] * 2)
        with pytest.raises(QuotaExceeded, match="limited to 2"):
            await core.messages.post(ACME, "one", [body(10)])
        await core.quota_book.put("acme", Override(messages=5, bytes=45))
        await core.messages.post(ACME, "one", [body(10)])
        with pytest.raises(QuotaExceeded, match="bytes is limited to 45"):
            await core.messages.post(ACME, "one", [body(10)] * 2)
        await core.quota_book.put("acme", Override(messages=None))
        await core.messages.post(ACME, "one", [body(10)] * 50)
        await core.quota_book.reset("acme")
        with pytest.raises(QuotaExceeded, match="limited to 2"):
            await core.messages.post(ACME, "one", [body(10)])
        assert await stored(core) == 53

    async def test_use_is_shown_by_the_names_of_the_limits(
        self, store: Store, clock: ManualClock
    ) -> None:
        core = build_core(store=store, clock=clock)
        await core.messages.post(ACME, "one", [body(10), body(20)])
        await core.claims.create(ACME, "one", ClaimTerms(limit=1))
        await core.subscriptions.create(ACME, "two", SubscriptionDraft(subscriber=HOOK))
        assert await core.usage.use("acme") == {
            "queues": 2,
            "messages": 2,
            "bytes": 30,
            "subscriptions": 1,
            "claims": 1,
        }


class SharedStockQuotaConformance(QuotaConformance):
    """A driver's tests provide ``url`` beside ``store``, as for ``ByUrlConformance``."""

    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError("a driver's tests provide it")

    @pytest.fixture
    async def other_node(self, store: Store, url: str, clock: ManualClock) -> AsyncIterator[Store]:
        """The same store as another node has it open."""
        assert store
        async with opening_stores() as open_at:
            yield await open_at(url, now=clock.now())

    async def test_nodes_exceed_a_quota_by_one_lot_for_each_of_the_others(
        self, store: Store, other_node: Store, clock: ManualClock
    ) -> None:
        limit = 300
        nodes = [
            build_core(store=one, clock=clock, quota=Quota(messages=limit))
            for one in (store, other_node)
        ]

        async def post_until_refused(core: Core, name: str) -> int:
            count = 0
            while True:
                try:
                    await core.messages.post(ACME, name, [body(10)])
                except QuotaExceeded:
                    return count
                count += 1

        clients = (post_until_refused(core, name) for core in nodes for name in QUEUES)
        accepted = sum(await asyncio.gather(*clients))
        assert limit <= accepted <= limit + limit // SHARES
        assert await stored(nodes[0]) == accepted

    async def test_what_was_stored_by_another_node_counts(
        self, store: Store, other_node: Store, clock: ManualClock
    ) -> None:
        quota = Quota(messages=10, queues=2)
        here, other = (
            build_core(store=one, clock=clock, quota=quota) for one in (store, other_node)
        )
        await other.messages.post(ACME, "one", [body(10)] * 10)
        with pytest.raises(QuotaExceeded):
            await here.messages.post(ACME, "one", [body(10)])
        await other.queues.create(ACME, "two", {})
        with pytest.raises(QuotaExceeded, match="queues"):
            await here.queues.create(ACME, "three", {})

    @pytest.mark.usefixtures("at_once")
    async def test_what_another_node_takes_away_gives_room_here(
        self, store: Store, other_node: Store, clock: ManualClock
    ) -> None:
        quota = Quota(messages=10)
        here, other = (
            build_core(store=one, clock=clock, quota=quota) for one in (store, other_node)
        )
        for _ in range(3):
            await here.messages.post(ACME, "one", [body(10)] * 10)
            with pytest.raises(QuotaExceeded):
                await here.messages.post(ACME, "one", [body(10)])
            assert len(await other.messages.pop(ACME, "one", 10)) == 10
