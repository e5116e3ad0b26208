"""A purged or deleted queue is announced to nobody any more; its subscriptions stay."""

from collections.abc import AsyncIterator

import pytest

from nuska.core import build_core
from nuska.interfaces.identity import Caller
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import OK, REFUSED, DeliveryBench

WHO = "http://a.example/"
CALLER = Caller(project="acme", client=b"c")


@pytest.fixture
async def bench() -> AsyncIterator[DeliveryBench]:
    clock = ManualClock()
    bench = DeliveryBench(MemoryStore(now=clock.now(), random_bytes=seeded_bytes()), clock)
    yield bench
    await bench.engine.stop()


@pytest.mark.parametrize("delete", [False, True])
@pytest.mark.parametrize("restart", [False, True])
async def test_nothing_that_was_posted_before_is_told_afterwards(
    bench: DeliveryBench, delete: bool, restart: bool
) -> None:
    core = build_core(store=bench.store, clock=bench.clock)
    core.followings.add(bench.engine)
    bench.sender.answers[WHO] = REFUSED
    subscription = await bench.subscribe(WHO)
    await bench.post(*(f"m{n}" for n in range(20)))
    await bench.engine.settled()
    if restart:
        await bench.engine.stop()
    if delete:
        await core.queues.delete(CALLER, "jobs")
    else:
        await core.queues.purge(CALLER, "jobs", messages=True)
    if restart:
        bench.new_engine()
    told = len(bench.sender.sent)
    bench.sender.answers[WHO] = OK
    await bench.pass_time(60)
    await bench.post("after")
    await bench.pass_time(60)
    assert bench.sender.bodies()[told:] == ["after"]
    attempts = await bench.attempts(subscription)
    assert len(attempts) == (1 if delete else told + 1)


async def test_a_queue_that_nobody_subscribed_to_has_no_records_afterwards(
    bench: DeliveryBench,
) -> None:
    core = build_core(store=bench.store, clock=bench.clock)
    await bench.post("one")
    await core.queues.delete(CALLER, "jobs")
    assert await bench.records.followed(bench.queue) is None
