"""Subscriptions as callers see them: one per subscriber, whatever happens at once."""

import asyncio
import random

import pytest
from msgspec.structs import replace

from nuska.core import Core, build_core
from nuska.core.subscribers import SubscriberRules
from nuska.core.subscription_making import SubscriptionDraft
from nuska.core.subscription_records import SHARED, SubscriptionRecords
from nuska.core.subscriptions import SubscriptionChange
from nuska.domain.errors import Conflict, InvalidInput, NotFound
from nuska.domain.limits import MAX_SUBSCRIBER, MAX_SUBSCRIPTION_OPTIONS
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment, seconds
from nuska.domain.subscriptions import UNSUBSCRIBED, Disabled
from nuska.interfaces.identity import Caller
from nuska.interfaces.records import Record
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import START, ManualClock

ACME = Caller("acme")
JOBS = QueueRef("acme", "jobs")
HOOK = "https://hooks.example.net/in"


class HesitantRecords:
    """Records that let others run before and after every step, in an order of the seed's."""

    def __init__(self, records, seed: int) -> None:
        self._records = records
        self._random = random.Random(seed)

    def __getattr__(self, name: str):
        step = getattr(self._records, name)

        async def hesitate(*args, **named) -> Record | None:
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            result = await step(*args, **named)
            for _ in range(self._random.randrange(4)):
                await asyncio.sleep(0)
            return result

        return hesitate


class Listener:
    def __init__(self) -> None:
        self.heard: list[QueueRef] = []

    def changed(self, queue: QueueRef) -> None:
        self.heard.append(queue)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(now=START, random_bytes=random.Random(1).randbytes)


@pytest.fixture
def core(store: MemoryStore, clock: ManualClock) -> Core:
    return build_core(store=store, clock=clock, random_bytes=random.Random(2).randbytes)


@pytest.fixture
def records(store: MemoryStore) -> SubscriptionRecords:
    return SubscriptionRecords(store.records)


def draft(subscriber: str = HOOK, **more) -> SubscriptionDraft:
    return SubscriptionDraft(subscriber=subscriber, **more)


async def subscribers(core: Core, name: str = "jobs") -> list[str]:
    return [one.subscriber for one in await core.subscriptions.page(ACME, name, limit=20)]


async def test_creating_one_opens_the_log_and_creates_the_queue(
    core: Core, store: MemoryStore, records: SubscriptionRecords, clock: ManualClock
) -> None:
    listener = Listener()
    core.followings.add(listener)
    made = await core.subscriptions.create(ACME, "jobs", draft())
    assert await store.queues.get(JOBS) is not None
    log = await store.announcements.state(JOBS, now=clock.now())
    assert log is not None
    assert made.since == log.last
    cursor = await records.cursor(JOBS, made.id)
    assert cursor is not None
    assert cursor.value.position == log.last
    assert await records.cursor(JOBS, SHARED) is None
    assert await records.followed(JOBS) is not None
    assert listener.heard == [JOBS]


async def test_what_is_refused_creates_no_queue(core: Core, store: MemoryStore) -> None:
    with pytest.raises(InvalidInput):
        await core.subscriptions.create(ACME, "jobs", draft(ttl=59))
    assert await store.queues.get(JOBS) is None


async def test_a_second_one_for_a_subscriber_is_the_first_with_what_it_names(
    core: Core, clock: ManualClock
) -> None:
    first = await core.subscriptions.create(ACME, "jobs", draft(options={"a": 1}))
    clock.advance(seconds=30)
    again = await core.subscriptions.create(ACME, "jobs", draft())
    assert again == first
    changed = await core.subscriptions.create(ACME, "jobs", draft(ttl=90, options={"b": 2}))
    assert changed.id == first.id
    assert changed.options == {"b": 2}
    assert changed.expires_at == clock.now() + seconds(90)
    assert changed.created_at == first.created_at
    assert await core.subscriptions.page(ACME, "jobs") == [changed]


async def test_a_confirmed_subscriber_has_no_second_subscription(core: Core) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft())
    await core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
    with pytest.raises(Conflict):
        await core.subscriptions.create(ACME, "jobs", draft())


@pytest.mark.parametrize("seed", range(60))
async def test_many_who_subscribe_one_at_the_same_moment_get_one_id(
    seed: int, store: MemoryStore, clock: ManualClock
) -> None:
    store.records = HesitantRecords(store.records, seed)
    nodes = [
        build_core(store=store, clock=clock, random_bytes=random.Random(node).randbytes)
        for node in range(2)
    ]
    made = await asyncio.gather(
        *(nodes[n % 2].subscriptions.create(ACME, "jobs", draft()) for n in range(6))
    )
    assert len({one.id for one in made}) == 1
    assert len(await nodes[0].subscriptions.page(ACME, "jobs")) == 1


async def test_many_subscribers_of_one_queue_come_at_once_on_two_nodes(
    store: MemoryStore, clock: ManualClock, records: SubscriptionRecords
) -> None:
    store.records = HesitantRecords(store.records, 1)
    nodes = [
        build_core(store=store, clock=clock, random_bytes=random.Random(node).randbytes)
        for node in range(2)
    ]
    urls = {f"https://hooks.example.net/{number}" for number in range(200)}
    await asyncio.gather(
        *(nodes[n % 2].subscriptions.create(ACME, "jobs", draft(url)) for n, url in enumerate(urls))
    )
    found = [seen.value.subscriber async for seen in records.all_subscriptions(JOBS)]
    assert len(found) == 200
    assert set(found) == urls
    await nodes[0].subscriptions.purge(ACME, "jobs")
    assert [seen async for seen in records.all_subscriptions(JOBS)] == []


@pytest.mark.parametrize("seed", range(60))
async def test_creating_changing_and_removing_at_once_leaves_one_per_subscriber(
    seed: int, store: MemoryStore, clock: ManualClock
) -> None:
    plain = store.records
    core = build_core(store=store, clock=clock, random_bytes=random.Random(seed).randbytes)
    urls = [f"https://hooks.example.net/{number}" for number in range(3)]
    made = [await core.subscriptions.create(ACME, "jobs", draft(url)) for url in urls]
    store.records = HesitantRecords(plain, seed)
    core = build_core(store=store, clock=clock, random_bytes=random.Random(seed).randbytes)
    service, chance = core.subscriptions, random.Random(seed)

    async def something() -> None:
        one, url = chance.choice(made), chance.choice(urls)
        what = chance.randrange(3)
        if what == 0:
            await service.create(ACME, "jobs", draft(url))
        elif what == 1:
            await service.delete(ACME, "jobs", one.id)
        else:
            await service.update(ACME, "jobs", one.id, SubscriptionChange(subscriber=url))

    done = await asyncio.gather(*(something() for _ in range(8)), return_exceptions=True)
    assert [e for e in done if e is not None and not isinstance(e, Conflict | NotFound)] == []
    store.records = plain
    calm = build_core(store=store, clock=clock)
    found = await subscribers(calm)
    assert len(found) == len(set(found))
    # Nobody is locked out by what was left, and nobody is let in twice.
    for url in urls:
        await calm.subscriptions.create(ACME, "jobs", draft(url))
    assert sorted(await subscribers(calm)) == urls


async def test_an_expired_one_is_seen_by_nobody_and_makes_room(
    core: Core, clock: ManualClock
) -> None:
    old = await core.subscriptions.create(ACME, "jobs", draft(ttl=60))
    clock.advance(seconds=60)
    assert await core.subscriptions.page(ACME, "jobs") == []
    with pytest.raises(NotFound):
        await core.subscriptions.get(ACME, "jobs", old.id)
    with pytest.raises(NotFound):
        await core.subscriptions.confirm(ACME, "jobs", old.id, confirmed=True)
    new = await core.subscriptions.create(ACME, "jobs", draft())
    assert new.id != old.id
    await core.subscriptions.delete(ACME, "jobs", old.id)
    assert await core.subscriptions.page(ACME, "jobs") == [new]


async def test_a_page_is_full_though_expired_ones_lie_between(
    core: Core, clock: ManualClock
) -> None:
    for number in range(40):
        url, ttl = f"https://hooks.example.net/{number}", 60 if number % 2 else 3600
        await core.subscriptions.create(ACME, "jobs", draft(url, ttl=ttl))
    clock.advance(seconds=60)
    seen, after = [], None
    while page := await core.subscriptions.page(ACME, "jobs", after=after, limit=7):
        seen += page
        after = page[-1].id
        assert len(page) == 7 or len(seen) == 20
    assert [one.id for one in seen] == sorted({one.id for one in seen})
    assert len(seen) == 20


@pytest.mark.parametrize("ttl", [60, 220_367_260_800, 2**36])
async def test_a_ttl_may_be_as_long_as_calendars_go(core: Core, ttl: int) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft(ttl=ttl))
    assert made.ttl == ttl * 1000


@pytest.mark.parametrize("ttl", [0, -1, 59, 253_402_300_800, 2**63 - 1])
async def test_other_ttls_are_refused(core: Core, ttl: int) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft("https://hooks.example.net/2"))
    with pytest.raises(InvalidInput, match="ttl"):
        await core.subscriptions.create(ACME, "jobs", draft(ttl=ttl))
    with pytest.raises(InvalidInput, match="ttl"):
        await core.subscriptions.update(ACME, "jobs", made.id, SubscriptionChange(ttl=ttl))


async def test_another_subscriber_has_to_confirm_for_himself(core: Core) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft())
    await core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
    same = await core.subscriptions.update(ACME, "jobs", made.id, SubscriptionChange(ttl=90))
    assert same.confirmed
    moved = await core.subscriptions.update(
        ACME, "jobs", made.id, SubscriptionChange(subscriber="https://hooks.example.net/2")
    )
    assert not moved.confirmed
    # The first one is free again.
    assert (await core.subscriptions.create(ACME, "jobs", draft())).id != made.id


async def test_a_subscriber_who_has_a_subscription_is_not_given_another_by_a_patch(
    core: Core,
) -> None:
    await core.subscriptions.create(ACME, "jobs", draft())
    other = await core.subscriptions.create(ACME, "jobs", draft("https://hooks.example.net/2"))
    with pytest.raises(Conflict):
        await core.subscriptions.update(ACME, "jobs", other.id, SubscriptionChange(subscriber=HOOK))
    assert await core.subscriptions.get(ACME, "jobs", other.id) == other


async def test_a_patch_has_a_disabled_one_tried_again(
    core: Core, records: SubscriptionRecords
) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft())
    seen = await records.subscription(JOBS, made.id)
    assert seen is not None
    broken = replace(made, disabled=Disabled("It answers 410.", START))
    await records.put_subscription(broken, version=seen.version)
    change = SubscriptionChange(ttl=90)
    assert (await core.subscriptions.update(ACME, "jobs", made.id, change)).disabled is None


async def test_who_leaves_is_disabled_and_comes_back_by_confirming(core: Core) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft())
    await core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=False)
    left = await core.subscriptions.get(ACME, "jobs", made.id)
    assert left.disabled is not None
    assert left.disabled.reason == UNSUBSCRIBED
    await core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
    back = await core.subscriptions.get(ACME, "jobs", made.id)
    assert back.confirmed
    assert back.disabled is None


async def test_subscriptions_outlive_their_queue_and_a_purge_removes_them_all(
    core: Core, records: SubscriptionRecords
) -> None:
    for number in range(130):
        await core.subscriptions.create(ACME, "jobs", draft(f"https://hooks.example.net/{number}"))
    await core.subscriptions.create(ACME, "others", draft())
    await core.queues.delete(ACME, "jobs")
    assert len(await core.subscriptions.page(ACME, "jobs", limit=20)) == 20
    await core.subscriptions.purge(ACME, "jobs")
    assert await core.subscriptions.page(ACME, "jobs") == []
    assert await records.cursors(JOBS) == {}
    assert await subscribers(core, "others") == [HOOK]


async def test_ids_from_elsewhere_do_not_exist(core: Core) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft())
    strange = ["", "x", made.id.upper(), f"{made.id}0", "\x1f", "0" * 24]
    places = [(ACME, "others", made.id), (Caller("other"), "jobs", made.id)]
    places += [(ACME, "jobs", text) for text in strange if text != made.id]
    for caller, name, text in places:
        with pytest.raises(NotFound):
            await core.subscriptions.get(caller, name, text)
        with pytest.raises(NotFound):
            await core.subscriptions.update(caller, name, text, SubscriptionChange(ttl=60))
        with pytest.raises(NotFound):
            await core.subscriptions.confirm(caller, name, text, confirmed=True)
        await core.subscriptions.delete(caller, name, text)
    assert await core.subscriptions.get(ACME, "jobs", made.id) == made


@pytest.mark.parametrize(
    "subscriber",
    [
        "",
        "x",
        "https",
        "https:",
        "https://",
        "https:///path",
        "ftp://example.net",
        "javascript:alert(1)",
        "https://example.net/a b",
        "https://example.net/\n",
        "https://example.net/" + "x" * MAX_SUBSCRIBER,
        "http://[::1",
        "mailto:",
        "mailto:nobody",
        "mailto:a@b.c,@",
        "mailto:a@b.c%0d%0aBcc:x@y.z",
        "mailto:a@b.c?subject=%0aBcc:x",
        "mailto:" + ",".join(["a@b.c"] * 21),
        "queue:",
        "queue:a/b",
        "queue:jobs",
        "queue:" + "x" * 65,
        "trust+http://example.net",
    ],
)
async def test_not_everything_is_a_subscriber(core: Core, subscriber: str) -> None:
    with pytest.raises(InvalidInput):
        await core.subscriptions.create(ACME, "jobs", draft(subscriber))


@pytest.mark.parametrize(
    "subscriber",
    [
        "http://example.net",
        "HTTPS://example.net:8443/a?b=c",
        "mailto:a@b.c",
        "MailTo:a@b.c,d@e.f?subject=Hello%20there",
        "queue:others",
    ],
)
async def test_these_are(core: Core, subscriber: str) -> None:
    assert (await core.subscriptions.create(ACME, "jobs", draft(subscriber))).scheme.islower()


@pytest.mark.parametrize(
    "options",
    [
        {"_retry_policy": []},
        {"_retry_policy": {"minimum_delay": "5"}},
        {"post_data": {"a": 1}},
        {"post_headers": "X: y"},
        {"post_headers": {"X": 1}},
        {"big": "x" * MAX_SUBSCRIPTION_OPTIONS},
    ],
)
async def test_options_with_a_meaning_have_a_form(core: Core, options: dict[str, object]) -> None:
    made = await core.subscriptions.create(ACME, "jobs", draft())
    with pytest.raises(InvalidInput):
        await core.subscriptions.create(ACME, "others", draft(options=options))
    with pytest.raises(InvalidInput):
        await core.subscriptions.update(ACME, "jobs", made.id, SubscriptionChange(options=options))


async def test_the_largest_subscription_fits_a_record_of_every_store(core: Core) -> None:
    options = {"k": "é" * (MAX_SUBSCRIPTION_OPTIONS // 2 - 20), "post_data": None}
    url = "https://example.net/" + "é" * (MAX_SUBSCRIBER - 20)
    made = await core.subscriptions.create(ACME, "jobs", draft(url, options=options))
    assert await core.subscriptions.get(ACME, "jobs", made.id) == made


class Keystone:
    """Implements ``Trusts``: knows which trusts a caller has given."""

    def __init__(self) -> None:
        self.made = 0

    async def create(self, caller: Caller, token: str | None, *, until: Moment) -> str:
        self.made += 1
        return f"{caller.project}-{self.made}"

    async def check(self, caller: Caller, trust: str) -> None:
        if not trust.startswith(f"{caller.project}-"):
            raise InvalidInput("That trust is none of yours.")


async def test_whoever_asks_again_names_no_trust_of_another(
    store: MemoryStore, clock: ManualClock
) -> None:
    trusts = Keystone()
    core = build_core(store=store, clock=clock, subscribers=SubscriberRules(trusts=trusts))
    hook = "trust+https://hooks.example.net/in"
    made = await core.subscriptions.create(ACME, "jobs", draft(hook))
    foreign = SubscriptionDraft(subscriber=hook, options={"trust_id": "others-1"})
    with pytest.raises(InvalidInput):
        await core.subscriptions.create(ACME, "jobs", foreign)
    assert await core.subscriptions.get(ACME, "jobs", made.id) == made
    again = SubscriptionDraft(subscriber=hook, options={"post_data": "x"})
    kept = await core.subscriptions.create(ACME, "jobs", again)
    assert kept.options == {"post_data": "x", "trust_id": made.options["trust_id"]}
    assert trusts.made == 1
