"""What one process wrote, and another one finds: nothing is lost between a process that stood still
and its successor, and what one has learnt the next one knows."""

import asyncio

import pytest
from msgspec.structs import replace

from nuska.delivery.breaker import FAILURES
from nuska.delivery.leaving import leave_alone
from nuska.domain.internal import internal
from nuska.domain.moments import Duration
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.notifications import Outcome
from nuska.testing.delivering import OK, REFUSED, DeliveryBench

A, B = "http://a.example/", "http://b.example/"
WRONG_TODAY = Outcome(ok=False, status=500, latency=Duration(1), error="500")
LATER = {
    "_retry_policy": {
        "retries_with_no_delay": 0,
        "minimum_delay_retries": 9,
        "minimum_delay": 3000,
        "maximum_delay": 3600,
    }
}


async def unsubscribe(bench: DeliveryBench, id_: SubscriptionId) -> None:
    seen = await bench.records.subscription(bench.queue, id_)
    assert seen is not None
    await bench.records.remove_subscription(seen)
    await bench.records.note_change(bench.queue)


async def rows(bench: DeliveryBench) -> int:
    queue = internal("retries", bench.queue)
    stats = await bench.store.queues.stats(queue, now=bench.clock.now())
    return stats.ready + stats.claimed + stats.delayed


async def test_who_stood_still_while_leaving_takes_nothing_from_his_successor(
    bench: DeliveryBench,
) -> None:
    first = await bench.subscribe(A)
    await bench.engine.settled()
    stale = bench.engine.followers[bench.queue]
    await unsubscribe(bench, first)
    followed = await bench.records.followed(bench.queue)
    log = await bench.store.announcements.state(bench.queue, now=bench.clock.now())
    assert followed is not None
    assert log is not None
    await bench.store.announcements.close(bench.queue, version=log.version, now=bench.clock.now())
    await bench.subscribe(B, LATER)
    bench.new_engine()
    bench.sender.answers[B] = REFUSED
    await bench.post("x")
    await bench.engine.settled()
    cursors = await bench.records.cursors(bench.queue)
    assert await rows(bench) == 1
    await leave_alone(stale, followed.version, None)  # he goes on
    assert await bench.records.cursors(bench.queue) == cursors
    assert await bench.records.followed(bench.queue) is not None
    bench.sender.answers.clear()
    bench.new_engine()
    await bench.pass_time(3_605)
    assert await rows(bench) == 0
    assert bench.sender.sent[-1].body == "x"


async def test_nothing_is_left_of_a_queue_to_which_nobody_subscribes(bench: DeliveryBench) -> None:
    id_ = await bench.subscribe(A, LATER)
    bench.sender.answers[A] = REFUSED
    await bench.post(*"abc")
    await bench.engine.settled()
    assert await rows(bench)
    await unsubscribe(bench, id_)
    bench.engine.changed(bench.queue)
    await bench.engine.settled()
    assert await rows(bench) == 0
    assert await bench.records.cursors(bench.queue) == {}
    assert await bench.records.followed(bench.queue) is None
    assert await bench.store.announcements.state(bench.queue, now=bench.clock.now()) is None
    assert not bench.engine.followers


async def test_a_cursor_that_somebody_removed_is_written_again_before_it_is_passed(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(A)
    slow = await bench.subscribe(B)
    bench.sender.hanging[B] = asyncio.Event()
    for number in range(10):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    settled = asyncio.create_task(bench.engine.settled())
    await bench.sender.wait_under_way(B, 3)
    await asyncio.sleep(0.05)
    settled.cancel()
    for _ in range(3):
        bench.engine.flush_all()
        await asyncio.sleep(0.05)
    seen = await bench.records.cursor(bench.queue, slow)
    assert seen is not None
    assert await bench.records.remove_cursor(bench.queue, slow, version=seen.version)
    for number in range(10, 20):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    bench.sender.answers[B] = REFUSED
    bench.sender.hanging[B].set()
    bench.engine.step()
    for _ in range(10):
        bench.engine.step()
        bench.engine.flush_all()
        await asyncio.sleep(0.02)
    again = await bench.records.cursor(bench.queue, slow)
    shared = await bench.records.cursor(bench.queue, "")
    assert shared is not None
    assert again is not None or shared.value.position <= seen.value.position
    bench.sender.answers.clear()
    bench.new_engine()  # the process died
    await bench.pass_time(130)
    assert set(bench.sender.bodies(B)) == {str(number) for number in range(20)}


@pytest.mark.parametrize("outcome", [REFUSED, WRONG_TODAY], ids=["refuses", "says no"])
async def test_a_restart_knows_which_breakers_were_open(
    bench: DeliveryBench, outcome: Outcome
) -> None:
    bench.sender.answers[A] = outcome
    await bench.subscribe(A, LATER)
    for number in range(30):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await bench.engine.settled()
    begun = len(bench.sender.sent)
    assert begun >= FAILURES
    await bench.engine.stop()
    bench.new_engine()
    await bench.pass_time(10)
    assert len(bench.sender.sent) == begun, "nothing new until the pause is over"
    bench.sender.answers[A] = OK
    await bench.pass_time(60)
    assert set(bench.sender.bodies()[begun:]) >= {str(number) for number in range(begun, 30)}
    bench.clock.advance(seconds=3_600)
    await bench.pass_time(5)
    assert set(bench.sender.bodies()) == {str(number) for number in range(30)}


async def test_trouble_with_an_endpoint_that_was_changed_meanwhile_is_forgotten(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[A] = REFUSED
    id_ = await bench.subscribe(A, LATER)
    for number in range(10):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await bench.engine.settled()
    await bench.engine.stop()
    seen = await bench.records.subscription(bench.queue, id_)
    assert seen is not None
    moved = replace(seen.value, subscriber=B)
    await bench.records.put_subscription(moved, version=seen.version)
    await bench.records.note_change(bench.queue)
    bench.new_engine()
    await bench.engine.settled()
    assert bench.sender.bodies(B)
