"""What a node may still store: spent from memory, leased in lots, measured when that tells more."""

import asyncio
import random
from contextlib import suppress

import pytest

from nuska.core import allowances
from nuska.core.allowances import Allowance
from nuska.core.ledgers import LocalLedger, SharedLedger
from nuska.domain.allowances import Limits
from nuska.domain.errors import QuotaExceeded, Unavailable
from nuska.interfaces.records import RecordStore
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import START, ManualClock, seeded_bytes

LIMIT = (10,)


class Shelf:
    """Something that is stored and measured."""

    def __init__(self) -> None:
        self.there = 0
        self.measured = 0
        self.may_measure = asyncio.Event()
        self.may_measure.set()
        self.is_measuring = asyncio.Event()

    async def measure(self, _: Limits) -> tuple[int, ...]:
        self.measured += 1
        self.is_measuring.set()
        await self.may_measure.wait()
        return (self.there,)

    async def put(
        self, allowance: Allowance, count: int = 1, limit: tuple[int, ...] = LIMIT
    ) -> None:
        taken = await allowance.take((count,), limit)
        await asyncio.sleep(0)
        self.there += count
        allowance.settle(taken, stored=True)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def records() -> RecordStore:
    return MemoryStore(now=START, random_bytes=seeded_bytes()).records


@pytest.fixture
def alone(shelf: Shelf) -> Allowance:
    return Allowance(("queues",), shelf.measure, LocalLedger(1))


def node(shelf: Shelf, records: RecordStore) -> Allowance:
    return Allowance(("queues",), shelf.measure, shared(records))


def shared(records: RecordStore, kind: type[SharedLedger] = SharedLedger) -> SharedLedger:
    return kind(records, ManualClock(), "acme", "queues", 1)


async def test_one_node_measures_once_and_then_spends_from_memory(
    shelf: Shelf, alone: Allowance
) -> None:
    for _ in range(10):
        await shelf.put(alone)
    assert shelf.measured == 1


async def test_nothing_is_refused_that_there_is_room_for_by_now(
    shelf: Shelf, alone: Allowance
) -> None:
    for _ in range(100):
        await shelf.put(alone)
        shelf.there = 0
    assert 10 <= shelf.measured <= 11


async def test_a_full_shelf_is_not_measured_for_everybody_who_asks(
    shelf: Shelf, alone: Allowance
) -> None:
    shelf.there = 10
    for _ in range(20):
        with pytest.raises(QuotaExceeded, match="queues is limited to 10"):
            await shelf.put(alone)
    assert shelf.measured == 1


async def test_it_is_measured_again_when_something_was_taken_away(
    shelf: Shelf, alone: Allowance
) -> None:
    shelf.there = 10
    with pytest.raises(QuotaExceeded):
        await shelf.put(alone)
    shelf.there = 9
    alone.free()
    await shelf.put(alone)


async def test_it_is_measured_again_after_a_while(
    shelf: Shelf, alone: Allowance, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.there = 10
    with pytest.raises(QuotaExceeded):
        await shelf.put(alone)
    shelf.there = 9
    monkeypatch.setattr(allowances, "FULL_FOR", 0.0)
    monkeypatch.setattr(allowances, "REST", 0.0)
    await shelf.put(alone)


async def test_what_is_larger_than_the_limit_is_refused_unmeasured(
    shelf: Shelf, alone: Allowance
) -> None:
    with pytest.raises(QuotaExceeded):
        await shelf.put(alone, 11)
    assert shelf.measured == 0


@pytest.mark.parametrize("seed", range(12))
async def test_a_node_alone_never_exceeds_a_limit(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "FULL_FOR", 0.0)
    monkeypatch.setattr(allowances, "REST", 0.0)
    shelves = Shelves(seed)
    alone = Allowance(("queues",), shelves.measure, LocalLedger(1))
    await asyncio.gather(*(shelves.client(alone, 50) for _ in range(8)))
    assert 25 < shelves.most <= 50


async def test_measuring_waits_for_what_is_on_its_way_and_what_comes_waits_for_measuring(
    shelf: Shelf, alone: Allowance
) -> None:
    first = await alone.take((10,), LIMIT)
    second = asyncio.create_task(alone.take((1,), LIMIT))
    third = asyncio.create_task(alone.take((1,), LIMIT))
    await asyncio.sleep(0)
    assert shelf.measured == 1
    shelf.may_measure.clear()
    shelf.is_measuring.clear()
    shelf.there = 9
    alone.settle(first, stored=True)
    await shelf.is_measuring.wait()
    assert not third.done()
    shelf.may_measure.set()
    assert await second == (1,)
    shelf.there = 10
    alone.settle((1,), stored=True)
    with pytest.raises(QuotaExceeded):
        await third


async def test_what_was_not_stored_after_all_leaves_its_room_to_others(
    shelf: Shelf, alone: Allowance
) -> None:
    for _ in range(30):
        taken = await alone.take((10,), LIMIT)
        alone.settle(taken, stored=False)
    assert shelf.measured == 1


async def test_another_limit_counts_from_the_next_time_on(shelf: Shelf, alone: Allowance) -> None:
    await shelf.put(alone, 10)
    await shelf.put(alone, 10, (20,))
    assert shelf.there == 20
    with pytest.raises(QuotaExceeded, match="limited to 5"):
        await shelf.put(alone, 1, (5,))


async def test_what_has_no_limit_is_not_counted(shelf: Shelf) -> None:
    async def measure(limits: Limits) -> tuple[int, ...]:
        assert limits == (None, 10)
        return (0, shelf.there)

    both = Allowance(("messages", "bytes"), measure, LocalLedger(2))
    for _ in range(5):
        both.settle(await both.take((1000, 2), (None, 10)), stored=True)
        shelf.there += 2
    with pytest.raises(QuotaExceeded, match="bytes is limited to 10"):
        await both.take((1000, 2), (None, 10))


async def test_a_store_that_cannot_be_measured_refuses_nothing_for_good(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = True

    async def measure(limits: Limits) -> tuple[int, ...]:
        if fails:
            raise Unavailable("The store is down.")
        return await shelf.measure(limits)

    alone = Allowance(("queues",), measure, LocalLedger(1))
    with pytest.raises(Unavailable):
        await shelf.put(alone)
    fails = False
    await shelf.put(alone)


async def test_a_node_takes_lots_and_asks_the_ledger_once_for_each(
    shelf: Shelf, records: RecordStore
) -> None:
    asked = 0
    lease = SharedLedger.lease

    class Counting(SharedLedger):
        async def lease(self, *amounts):
            nonlocal asked
            asked += 1
            return await lease(self, *amounts)

    counting = Allowance(("queues",), shelf.measure, shared(records, Counting))
    for _ in range(1000):
        await shelf.put(counting, 1, (1000,))
    assert asked <= 102  # a lot is a hundredth
    assert shelf.measured == 1


async def test_several_nodes_exceed_the_limit_by_one_lot_for_each_of_the_others(
    shelf: Shelf, records: RecordStore
) -> None:
    limit, nodes = (1000,), [node(shelf, records) for _ in range(4)]

    async def fill(allowance: Allowance) -> None:
        while True:
            await shelf.put(allowance, 1, limit)

    async def client(allowance: Allowance) -> None:
        with pytest.raises(QuotaExceeded):
            await fill(allowance)

    await asyncio.gather(*(client(one) for one in nodes for _ in range(3)))
    assert 1000 <= shelf.there <= 1000 + 3 * 10


async def test_nothing_is_refused_for_room_that_others_have_only_in_hand(
    shelf: Shelf, records: RecordStore
) -> None:
    """They may never use it, or for the same thing: a queue that two nodes make at once."""
    shelf.there = 4
    here, there = node(shelf, records), node(shelf, records)
    there.settle(await there.take((3,), LIMIT), stored=False)
    shelf.may_measure.clear()
    shelf.is_measuring.clear()
    putting = asyncio.create_task(shelf.put(here, 5))
    await shelf.is_measuring.wait()
    taken = await there.take((5,), LIMIT)  # more than it had in hand
    shelf.may_measure.set()
    await putting
    there.settle(taken, stored=False)
    assert shelf.there == 9
    with pytest.raises(QuotaExceeded):
        await shelf.put(here, 2)


async def test_a_node_that_comes_later_goes_by_what_the_others_wrote(
    shelf: Shelf, records: RecordStore
) -> None:
    await shelf.put(node(shelf, records), 5)
    await shelf.put(node(shelf, records), 5)
    assert shelf.measured == 1
    with pytest.raises(QuotaExceeded):
        await shelf.put(node(shelf, records))
    assert shelf.measured == 2


async def test_nobody_waits_for_ever_for_room_to_be_found(
    shelf: Shelf, alone: Allowance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "TAKEN_WITHIN", 0.05)
    shelf.may_measure.clear()
    waiting = [asyncio.create_task(alone.take((1,), LIMIT)) for _ in range(5)]
    for one in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(one, Unavailable)
    shelf.may_measure.set()
    await shelf.put(alone)


async def test_what_takes_longer_to_measure_than_anybody_waits_is_known_in_the_end(
    shelf: Shelf, alone: Allowance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "TAKEN_WITHIN", 0.05)
    shelf.may_measure.clear()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await shelf.put(alone)
        assert not alone.is_idle  # so that it is not forgotten
    shelf.may_measure.set()
    await shelf.put(alone)
    assert shelf.measured == 1


async def test_nothing_is_stored_while_a_measuring_goes_on_that_nobody_waits_for(
    shelf: Shelf, alone: Allowance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.put(alone, 9)
    monkeypatch.setattr(allowances, "TAKEN_WITHIN", 0.05)
    monkeypatch.setattr(allowances, "REST", 0.0)
    shelf.may_measure.clear()
    with pytest.raises(Unavailable):
        await shelf.put(alone, 2)
    with pytest.raises(Unavailable):
        await shelf.put(alone)
    shelf.may_measure.set()
    await shelf.put(alone)
    with pytest.raises(QuotaExceeded):
        await shelf.put(alone)
    assert shelf.there == 10


async def test_a_measuring_that_fails_when_nobody_waits_any_more_harms_nobody(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "TAKEN_WITHIN", 0.05)
    fails = True

    async def measure(limits: Limits) -> tuple[int, ...]:
        if fails:
            await shelf.may_measure.wait()
            raise Unavailable("The store is down.")
        return await shelf.measure(limits)

    shelf.may_measure.clear()
    alone = Allowance(("queues",), measure, LocalLedger(1))
    with pytest.raises(Unavailable, match="takes too long"):
        await shelf.put(alone)
    shelf.may_measure.set()
    await asyncio.sleep(0.01)
    fails = False
    await shelf.put(alone)
    assert alone.is_idle


@pytest.mark.parametrize(("error", "told"), [(Unavailable("Down."), 0), (ValueError("odd"), 1)])
async def test_what_nobody_expected_of_a_measuring_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    told: int,
) -> None:
    monkeypatch.setattr(allowances, "TAKEN_WITHIN", 0.05)
    may_fail = asyncio.Event()

    async def measure(_: Limits) -> tuple[int, ...]:
        await may_fail.wait()
        raise error

    alone = Allowance(("queues",), measure, LocalLedger(1))
    with pytest.raises(Unavailable, match="takes too long"):
        await alone.take((1,), LIMIT)
    measuring = alone.measuring
    assert measuring is not None
    may_fail.set()
    await asyncio.wait((measuring,))
    await asyncio.sleep(0)
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error] * told


async def test_a_changed_limit_is_gone_by_however_long_the_last_measuring_took(
    shelf: Shelf, alone: Allowance, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shelf.put(alone, 10)
    monkeypatch.setattr(allowances, "REST", 1e12)
    monkeypatch.setattr(allowances, "PATIENCE", 0.01)
    await shelf.put(alone, 10, (20,))
    assert (shelf.there, shelf.measured) == (20, 2)


async def test_no_more_than_a_lot_is_on_its_way_from_a_node(
    shelf: Shelf, records: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "SETTLED_WITHIN", 0.05)
    here = node(shelf, records)
    first = await here.take((4,), LIMIT)
    with pytest.raises(Unavailable):
        await here.take((4,), LIMIT)
    here.settle(first, stored=True)
    here.settle(await here.take((4,), LIMIT), stored=True)


async def test_what_arrives_late_while_measuring_counts_once(
    shelf: Shelf, alone: Allowance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "SETTLED_WITHIN", 0.01)
    await shelf.put(alone)
    late = await alone.take((4,), LIMIT)
    lost = await alone.take((4,), LIMIT)
    shelf.is_measuring.clear()
    shelf.may_measure.clear()
    asking = asyncio.create_task(alone.take((2,), LIMIT))
    async with asyncio.timeout(10):
        await shelf.is_measuring.wait()  # and has seen 1
    seen, shelf.there = shelf.there, 5
    alone.settle(late, stored=True)
    alone.settle(lost, stored=False)
    shelf.there = seen
    shelf.may_measure.set()
    alone.settle(await asking, stored=True)
    shelf.there = 5 + 2
    with suppress(QuotaExceeded):
        for _ in range(20):
            await shelf.put(alone)
    assert shelf.there == LIMIT[0]


async def test_nobody_overtakes_those_who_wait(shelf: Shelf, alone: Allowance) -> None:
    came: list[int] = []

    async def one(number: int) -> None:
        taken = await alone.take((1,), (100,))
        came.append(number)
        alone.settle(taken, stored=True)

    shelf.may_measure.clear()
    asking = [asyncio.create_task(one(number)) for number in range(10)]
    await shelf.is_measuring.wait()
    shelf.may_measure.set()
    while len(asking) < 50:
        asking.append(asyncio.create_task(one(len(asking))))
        await asyncio.sleep(0)
    await asyncio.gather(*asking)
    assert came == sorted(came)


class Hesitant:
    """Records that let others run before and after every step."""

    def __init__(self, records: RecordStore, hesitate) -> None:
        self._records = records
        self._hesitate = hesitate

    def __getattr__(self, name: str):
        step = getattr(self._records, name)

        async def slowly(*args, **named):
            await self._hesitate()
            result = await step(*args, **named)
            await self._hesitate()
            return result

        return slowly


class Shelves:
    """Several, which are looked at one after the other while others put things there."""

    def __init__(self, seed: int) -> None:
        self.there = [0] * 3
        self.most = 0
        self.random = random.Random(seed)

    async def hesitate(self) -> None:
        for _ in range(self.random.randrange(6)):
            await asyncio.sleep(0)

    async def measure(self, _: Limits) -> tuple[int, ...]:
        held = 0
        for count in range(len(self.there)):
            held += self.there[count]
            await self.hesitate()
        return (held,)

    async def client(self, allowance: Allowance, limit: int) -> None:
        """Put things there, as many as there is room for, and take some away, for a while."""
        for _ in range(40):
            count = self.random.choice((1, 1, 2, 7))
            with suppress(QuotaExceeded):
                taken = await allowance.take((count,), (limit,))
                await self.hesitate()
                stored = self.random.random() < 0.9
                if stored:
                    self.there[self.random.randrange(3)] += count
                    self.most = max(self.most, sum(self.there))
                await self.hesitate()
                allowance.settle(taken, stored=stored)
            if self.random.random() < 0.3:
                shelf = self.random.randrange(3)
                self.there[shelf] -= self.random.randint(0, self.there[shelf])
                allowance.free()
            await self.hesitate()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("nodes", [1, 3])
async def test_whatever_happens_at_once_the_limit_is_exceeded_by_a_lot_for_each_other_node(
    records: RecordStore, nodes: int, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowances, "FULL_FOR", 0.0)
    monkeypatch.setattr(allowances, "REST", 0.0)
    monkeypatch.setattr("nuska.domain.allowances.SHARES", 5)
    shelves, limit = Shelves(seed), 50
    lot = 10
    slow = Hesitant(records, shelves.hesitate)
    all_nodes = [Allowance(("queues",), shelves.measure, shared(slow)) for _ in range(nodes)]
    await asyncio.gather(*(shelves.client(one, limit) for one in all_nodes for _ in range(4)))
    assert limit // 2 < shelves.most <= limit + (nodes - 1) * lot
    shelves.there = [0] * 3
    for node in all_nodes:
        node.free()
    for _ in range(limit):
        node = shelves.random.choice(all_nodes)
        node.settle(await node.take((1,), (limit,)), stored=True)
        shelves.there[0] += 1
