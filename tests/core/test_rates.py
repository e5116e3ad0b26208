"""How fast projects go: on one node, and on several that share."""

import asyncio
from random import Random

import pytest

from nuska.core import rates as rates_module
from nuska.core.quotas import QuotaBook
from nuska.core.rate_rounds import AT_ONCE
from nuska.core.rate_shares import LEASE, LEAST, RATE_SHARES, RateShares, fair
from nuska.core.rates import Rates
from nuska.domain.errors import RateExceeded, Unavailable
from nuska.domain.moments import Moment
from nuska.domain.quotas import Override, Quota
from nuska.interfaces.records import Record
from nuska.stores.memory.records import MemoryRecords
from nuska.testing.clock import ManualClock

LIMIT = 100


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def alone(clock: ManualClock, **quota: int) -> Rates:
    return Rates(QuotaBook(Quota(**quota), MemoryRecords()), clock)


def let_in(rates: Rates, count: int, project: str = "acme") -> int:
    """Of so many calls at once."""
    passed = 0
    for _ in range(count):
        try:
            assert rates.request(project) is None
        except RateExceeded:
            continue
        passed += 1
    return passed


def test_a_second_of_calls_may_come_at_once_and_then_as_many_as_the_rate(
    clock: ManualClock,
) -> None:
    rates = alone(clock, requests_per_second=LIMIT)
    assert let_in(rates, 150) == LIMIT
    assert let_in(rates, 150, "rival") == LIMIT
    clock.advance(milliseconds=100)
    assert let_in(rates, 50) == LIMIT // 10
    clock.advance(seconds=3600)
    assert let_in(rates, 150) == LIMIT


def test_a_refusal_says_when_to_come_again_and_names_the_limit(clock: ManualClock) -> None:
    rates = alone(clock, messages_per_second=2)
    rates.messages("acme", 2)
    with pytest.raises(RateExceeded, match="messages_per_second is limited to 2") as refused:
        rates.messages("acme", 2)
    assert refused.value.retry_after == 1
    with pytest.raises(RateExceeded):
        rates.messages("acme", 1)
    clock.advance(milliseconds=500)
    rates.messages("acme", 1)


def test_a_batch_that_is_larger_than_the_rate_waits_for_its_turn_and_is_paid_off(
    clock: ManualClock,
) -> None:
    rates = alone(clock, messages_per_second=10)
    rates.messages("acme", 1)
    with pytest.raises(RateExceeded):
        rates.messages("acme", 50)
    clock.advance(seconds=1)
    rates.messages("acme", 50)
    with pytest.raises(RateExceeded) as refused:
        rates.messages("acme", 1)
    assert refused.value.retry_after == 5
    clock.advance(seconds=4)
    with pytest.raises(RateExceeded):
        rates.messages("acme", 1)
    clock.advance(milliseconds=100)
    rates.messages("acme", 1)


def test_where_nothing_is_limited_nothing_is_kept(clock: ManualClock) -> None:
    rates = alone(clock, messages=5)
    assert rates.request("acme") is None
    rates.messages("acme", 10_000)
    assert rates.projects == 0


async def test_only_the_projects_that_are_limited_are_kept_and_a_change_holds_at_once(
    clock: ManualClock,
) -> None:
    book = QuotaBook(Quota(), MemoryRecords())
    rates = Rates(book, clock)
    await book.put("acme", Override(requests_per_second=LIMIT))
    assert rates.request("rival") is None
    assert rates.projects == 0
    assert let_in(rates, 150) == LIMIT
    await book.put("acme", Override(messages_per_second=1))
    assert let_in(rates, 150) == 150
    rates.messages("acme", 1)
    with pytest.raises(RateExceeded):
        rates.messages("acme", 1)
    await book.reset("acme")
    assert let_in(rates, 150) == 150


async def test_who_does_not_call_any_more_is_forgotten(clock: ManualClock) -> None:
    rates = alone(clock, requests_per_second=LIMIT)
    let_in(rates, LIMIT)
    await rates.look()
    await rates.look()
    assert rates.projects == 1, "what it has used up is not forgotten"
    clock.advance(seconds=1)
    await rates.look()
    assert rates.projects == 0


async def test_about_how_much_is_asked_for_can_be_seen(clock: ManualClock) -> None:
    rates = alone(clock, requests_per_second=LIMIT)
    assert await rates.use("acme") == {"requests_per_second": 0}
    for _ in range(10):
        let_in(rates, 3)
        clock.advance(milliseconds=100)
    assert await rates.use("acme") == {"requests_per_second": 30}
    clock.advance(seconds=60)
    assert await rates.use("acme") == {"requests_per_second": 0}


class Stopped(ManualClock):
    """A clock of a store that cannot be asked."""

    stopped = False

    def now(self) -> Moment:
        if self.stopped:
            raise Unavailable("nobody knows")
        return super().now()


def test_metrics_show_what_is_asked_for_and_do_without_when_nobody_knows_the_time() -> None:
    clock = Stopped()
    rates = alone(clock, messages_per_second=5)
    assert rates.request("acme") is None
    rates.messages("acme", 4)
    assert list(rates.asked()) == [("acme", "messages_per_second", 4.0)]
    clock.stopped = True
    assert list(rates.asked()) == []


@pytest.mark.parametrize(
    ("asked", "shares"),
    [
        ([0.0], [1.0]),
        ([5.0], [1.0]),
        ([0.0, 0.0], [0.5, 0.5]),
        ([2.0, 3.0], [0.5, 0.5]),
        ([0.1, 3.0], [0.1, 0.9]),
        ([3.0, 0.1, 0.1], [0.8, 0.1, 0.1]),
        ([0.2, 0.4], [0.4, 0.6]),
        ([0.3, 0.5, 0.9], [0.3, 0.35, 0.35]),
    ],
)
def test_shares_are_fair(asked: list[float], shares: list[float]) -> None:
    assert fair(asked) == pytest.approx(shares)


class Nodes:
    """Several on one store, whose work beside is done when the test says so."""

    def __init__(self, clock: ManualClock, count: int, records: MemoryRecords) -> None:
        self.clock = clock
        self.records = records
        book = QuotaBook(Quota(requests_per_second=LIMIT, messages_per_second=LIMIT), None)
        self.rates = [
            Rates(book, clock, RateShares(records, clock, f"node-{number}"))
            for number in range(count)
        ]

    async def call(self, number: int, count: int) -> int:
        """How many of so many calls at once are let in."""
        rates = self.rates[number]
        waiting = []
        passed = 0
        for _ in range(count):
            try:
                later = rates.request("acme")
            except RateExceeded:
                continue
            if later is None:
                passed += 1
            else:
                waiting.append(asyncio.ensure_future(later))
        await asyncio.sleep(0)
        await rates.look(hurried_only=True)
        done = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(each is None or isinstance(each, RateExceeded) for each in done), done
        return passed + sum(each is None for each in done)

    async def look(self) -> None:
        for rates in self.rates:
            await rates.look()


async def test_a_node_that_is_alone_has_the_whole_rate_at_once(clock: ManualClock) -> None:
    nodes = Nodes(clock, 2, MemoryRecords())
    passed = 0
    for _ in range(10):
        passed += await nodes.call(0, 20)
        clock.advance(milliseconds=50)
    assert LIMIT <= passed <= 1.5 * LIMIT


async def test_nodes_that_are_asked_for_as_much_share_alike(clock: ManualClock) -> None:
    nodes = Nodes(clock, 4, MemoryRecords())
    for _ in range(5):
        for number in range(4):
            await nodes.call(number, LIMIT)
        clock.advance(seconds=1)
        await nodes.look()
    passed = [await nodes.call(number, LIMIT) for number in range(4)]
    assert passed == [LIMIT // 4] * 4


async def test_what_one_node_does_not_need_others_get(clock: ManualClock) -> None:
    nodes = Nodes(clock, 2, MemoryRecords())
    for _ in range(5):
        for _ in range(10):
            await nodes.call(0, 1)
            await nodes.call(1, 50)
            clock.advance(milliseconds=100)
        await nodes.look()
    passed = [0, 0]
    for _ in range(10):
        passed[0] += await nodes.call(0, 1)
        passed[1] += await nodes.call(1, 50)
        clock.advance(milliseconds=100)
    assert passed[0] == 10
    assert 80 <= passed[1] <= 95


async def test_a_node_that_begins_is_let_in_although_another_has_everything(
    clock: ManualClock,
) -> None:
    nodes = Nodes(clock, 2, MemoryRecords())
    for _ in range(3):
        await nodes.call(0, 5)
        clock.advance(seconds=1)
        await nodes.look()
    assert await nodes.call(1, 5) == 5


@pytest.mark.parametrize("seed", range(5))
async def test_together_they_let_no_more_in_than_is_stated(clock: ManualClock, seed: int) -> None:
    """In t seconds t + 1 times the limit, and for each node a fifth of it whenever it begins."""
    random, count, seconds = Random(seed), 3, 30
    nodes = Nodes(clock, count, MemoryRecords())
    begun = [0] * count
    passed = 0
    load = [random.choice([0, 1, 8, 40]) for _ in range(count)]
    idle = [99] * count
    for step in range(seconds * 20):
        for number in random.sample(range(count), count):
            if load[number] and idle[number] > 20:
                begun[number] += 1
            idle[number] = 0 if load[number] else idle[number] + 1
            passed += await nodes.call(number, load[number])
        clock.advance(milliseconds=50)
        if step % 20 == 19:
            await nodes.look()
            load = [random.choice([0, 1, 8, 40]) for _ in range(count)]
    assert passed <= LIMIT * (seconds + 1) + sum(begun) * 2 * LEAST * LIMIT


async def test_who_leaves_leaves_nothing_behind(clock: ManualClock) -> None:
    nodes = Nodes(clock, 2, MemoryRecords())
    for number in range(2):
        await nodes.call(number, 5)
    for _ in range(4):
        clock.advance(seconds=1)
        await nodes.look()
    assert all(rates.projects == 0 for rates in nodes.rates)
    assert await nodes.records.get(RATE_SHARES, "acme") is None


async def test_what_a_node_had_that_is_gone_others_get_when_its_lease_is_over(
    clock: ManualClock,
) -> None:
    nodes = Nodes(clock, 2, MemoryRecords())
    for _ in range(3):
        for number in range(2):
            await nodes.call(number, LIMIT)
        clock.advance(seconds=1)
        await nodes.look()
    for _ in range(LEASE // 1000 + 2):
        await nodes.call(1, LIMIT)
        clock.advance(seconds=1)
        await nodes.rates[1].look()
    assert await nodes.call(1, 2 * LIMIT) == LIMIT


class FailingRecords(MemoryRecords):
    """A store that can be down."""

    down = False

    async def get(self, collection: str, key: str) -> Record | None:
        if self.down:
            raise Unavailable("it is down")
        return await super().get(collection, key)


async def test_a_store_that_is_down_leaves_every_node_with_what_it_had(
    clock: ManualClock,
) -> None:
    records = FailingRecords()
    nodes = Nodes(clock, 2, records)
    for _ in range(3):
        for number in range(2):
            await nodes.call(number, LIMIT)
        clock.advance(seconds=1)
        await nodes.look()
    records.down = True
    for _ in range(10):
        clock.advance(seconds=1)
        await nodes.look()
        passed = [await nodes.call(number, LIMIT) for number in range(2)]
        assert passed == [LIMIT // 2] * 2
    assert nodes.rates[0].failures


async def test_a_node_that_could_never_ask_goes_on_with_the_least(clock: ManualClock) -> None:
    records = FailingRecords()
    records.down = True
    nodes = Nodes(clock, 1, records)
    assert await nodes.call(0, LIMIT) == LEAST * LIMIT


async def test_what_is_asked_of_all_nodes_can_be_seen_at_each(clock: ManualClock) -> None:
    nodes = Nodes(clock, 2, MemoryRecords())
    for _ in range(3):
        for _ in range(10):
            await nodes.call(0, 1)
            await nodes.call(1, 2)
            clock.advance(milliseconds=100)
        await nodes.look()
    for rates in nodes.rates:
        assert (await rates.use("acme"))["requests_per_second"] in range(28, 34)


class HeldRecords(MemoryRecords):
    """A store that does not answer about some projects."""

    def __init__(self, *held: str) -> None:
        super().__init__()
        self.held = set(held)
        self.asked: set[str] = set()
        self.all_asked = asyncio.Event()
        self.wanted: set[str] = set()

    async def get(self, collection: str, key: str) -> Record | None:
        self.asked.add(key)
        if self.asked >= self.wanted:
            self.all_asked.set()
        if key in self.held:
            await asyncio.Event().wait()
        return await super().get(collection, key)


def shared(records: MemoryRecords, clock: ManualClock) -> Rates:
    book = QuotaBook(Quota(requests_per_second=LIMIT), None)
    return Rates(book, clock, RateShares(records, clock, "node"))


async def test_a_project_about_which_the_store_is_slow_keeps_nobody_waiting_who_is_in_a_hurry(
    clock: ManualClock,
) -> None:
    records = HeldRecords("slow")
    rates = shared(records, clock)
    records.wanted = {"slow"}
    running = asyncio.create_task(rates.run())
    try:
        held = asyncio.ensure_future(rates.request("slow") or asyncio.sleep(0))
        await asyncio.wait_for(records.all_asked.wait(), 20)
        for number in range(2 * AT_ONCE):
            later = rates.request(f"quick-{number}")
            assert later is not None
            await later
            assert await records.get(RATE_SHARES, f"quick-{number}") is not None
        held.cancel()
    finally:
        running.cancel()
        await asyncio.gather(running, held, return_exceptions=True)


async def test_a_project_about_which_the_store_is_slow_does_not_hold_up_the_round(
    clock: ManualClock,
) -> None:
    records = HeldRecords("slow")
    rates = shared(records, clock)
    others = [f"quick-{number}" for number in range(3 * AT_ONCE)]
    waiting = [
        asyncio.ensure_future(rates.request(project) or asyncio.sleep(0))
        for project in ("slow", *others)
    ]
    records.wanted = {"slow", *others}
    looking = asyncio.create_task(rates.look())
    try:
        await asyncio.wait_for(records.all_asked.wait(), 20)
        assert not looking.done()
    finally:
        looking.cancel()
        await asyncio.gather(looking, *waiting, return_exceptions=True)


async def test_an_answer_that_does_not_come_is_not_waited_for_for_ever(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates_module, "LOOKED_AT_FOR", 0.01)
    rates = shared(HeldRecords("slow"), clock)
    waiting = asyncio.ensure_future(rates.request("slow") or asyncio.sleep(0))
    await asyncio.sleep(0)
    await asyncio.wait_for(rates.look(), 20)
    assert rates.failures == 1
    await waiting
    assert let_in(rates, LIMIT, "slow") == LEAST * LIMIT - 1
