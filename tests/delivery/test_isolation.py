"""One endpoint's trouble is nobody else's (I19), nobody starves, nothing grows without bound."""

import asyncio
import gc
import tracemalloc

import pytest

from nuska.core import build_core
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.breaker import FAILURES
from nuska.delivery.node import MOST_WAITING
from nuska.delivery.unproven import UNPROVEN_SLOTS
from nuska.domain.messages import QueueRef
from nuska.interfaces.identity import Caller
from nuska.testing.clock import START
from nuska.testing.delivering import OK, REFUSED, DeliveryBench

HEALTHY = [f"http://healthy{n}.example/" for n in range(15)]
DEAD = [f"http://dead{n}.example/" for n in range(5)]
MANY = 10_000
POSTS = 5
BYTES_PER_SUBSCRIPTION = 6_000
"""What one may cost at the height of a flood, measured with the subscription itself."""


async def reached(bench: DeliveryBench, count: int, subscribers: list[str]) -> None:
    """Until all of them have been told so often."""
    settled = asyncio.create_task(bench.engine.settled())
    try:
        async with asyncio.timeout(20):
            while any(len(bench.sender.bodies(each)) < count for each in subscribers):
                bench.sender.began.clear()
                await bench.sender.began.wait()
    finally:
        settled.cancel()
        await asyncio.wait([settled])


async def test_endpoints_that_hang_delay_no_healthy_one_and_hold_few_slots(
    bench: DeliveryBench,
) -> None:
    for each in DEAD:
        bench.sender.hanging[each] = asyncio.Event()
    for each in HEALTHY + DEAD:
        await bench.subscribe(each)
    for number in range(100):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await reached(bench, 100, HEALTHY)
    assert all(bench.sender.most_under_way[each] <= UNPROVEN_SLOTS for each in DEAD)
    for each in DEAD:
        bench.sender.hanging[each].set()


async def test_hanging_endpoints_together_leave_half_of_the_slots_to_others(
    bench: DeliveryBench,
) -> None:
    bounds = DeliveryBounds(in_flight=8, in_flight_per_endpoint=4)
    bench.new_engine(bounds)
    dead = [f"http://dead{n}.example/" for n in range(40)]
    for each in dead:
        bench.sender.hanging[each] = asyncio.Event()
        await bench.subscribe(each)
    await bench.post("first")
    for each in HEALTHY:
        await bench.subscribe(each)
    await bench.post("second")
    await reached(bench, 1, HEALTHY)
    assert sum(bench.sender.under_way[each] for each in dead) == 4
    for each in dead:
        bench.sender.hanging[each].set()


async def test_a_project_with_much_to_send_leaves_slots_to_others(bench: DeliveryBench) -> None:
    bench.new_engine(DeliveryBounds(in_flight=8, in_flight_per_project=4))
    elsewhere = QueueRef("other", "jobs")
    for each in HEALTHY:
        bench.sender.hanging[each] = asyncio.Event()
        await bench.subscribe(each)
    await bench.subscribe("http://small.example/", queue=elsewhere)
    await bench.post(*"abc")
    await bench.post("x", queue=elsewhere)
    await reached(bench, 1, ["http://small.example/"])
    assert sum(bench.sender.under_way.values()) <= 4
    for each in HEALTHY:
        bench.sender.hanging[each].set()


async def test_no_more_is_under_way_to_one_endpoint_than_its_bound_says(
    bench: DeliveryBench,
) -> None:
    bench.new_engine(DeliveryBounds(in_flight_per_endpoint=3))
    subscriber = "http://one.example/"
    await bench.subscribe(subscriber)
    for number in range(50):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await bench.engine.settled()
    assert bench.sender.most_under_way[subscriber] == 3
    assert len(bench.sender.bodies()) == 50


async def test_an_open_breaker_lets_the_backlog_wait_in_the_log_and_all_of_it_arrives_afterwards(
    bench: DeliveryBench,
) -> None:
    subscriber = "http://down.example/"
    bench.sender.answers[subscriber] = REFUSED
    once = {
        "_retry_policy": {
            "retries_with_no_delay": 0,
            "minimum_delay_retries": 8,
            "minimum_delay": 20,
            "maximum_delay": 40,
        }
    }
    subscription = await bench.subscribe(subscriber, once)
    for number in range(300):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await bench.engine.settled()
    assert FAILURES <= len(bench.sender.sent) <= FAILURES + UNPROVEN_SLOTS
    assert bench.engine.dispatch.open_breakers == 1
    seen = await bench.records.trouble(bench.queue, subscription)
    assert seen is not None
    assert seen.value.error == "connection refused"
    core = build_core(store=bench.store, clock=bench.clock)
    shown = await core.deliveries.attempts(Caller(project="acme"), "jobs", subscription)
    assert shown.trouble == seen.value
    standing = await core.deliveries.standing(Caller("acme"), "jobs", subscription)
    assert standing.trouble == seen.value
    assert (standing.tally.attempts, standing.tally.rate) == (len(shown.attempts), 0.0)
    assert bench.engine.waiting < 10
    bench.sender.answers[subscriber] = OK
    await bench.pass_time(45)
    assert set(bench.sender.bodies()) == {str(number) for number in range(300)}
    assert bench.engine.dispatch.open_breakers == 0
    assert await bench.records.trouble(bench.queue, subscription) is None


async def test_with_nothing_to_repeat_one_new_message_probes_and_pauses_double(
    bench: DeliveryBench,
) -> None:
    subscriber = "http://down.example/"
    bench.sender.answers[subscriber] = REFUSED
    never = {
        "_retry_policy": {
            "retries_with_no_delay": 0,
            "minimum_delay_retries": 0,
            "minimum_delay": 5,
            "maximum_delay": 15,
            "maximum_delay_retries": 0,
        }
    }
    never["_retry_policy"]["retry_backoff_function"] = "arithmetic"
    await bench.subscribe(subscriber, {**never, "ordered": True})
    for number in range(40):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await bench.engine.settled()
    began = len(bench.sender.sent)
    await bench.pass_time(300)
    probes = [(d.at - START) // 1000 for d in bench.sender.sent[began:]]
    assert len(probes) < 40
    assert await bench.dead() <= len(bench.sender.sent)


async def test_a_slow_subscription_of_an_endpoint_starves_no_other_of_it(
    bench: DeliveryBench,
) -> None:
    many = [f"http://shared.example/{n}" for n in range(30)]
    for each in many:
        await bench.subscribe(each)
    for number in range(20):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    await reached(bench, 1, many)
    first_of_last = max(
        next(i for i, d in enumerate(bench.sender.sent) if d.subscriber == each) for each in many
    )
    assert first_of_last < 30 * 20 / 2
    await bench.engine.settled()
    assert len(bench.sender.sent) == 600


@pytest.mark.slow
async def test_ten_thousand_subscriptions_of_one_queue_work_in_bounded_memory(
    bench: DeliveryBench,
) -> None:
    for number in range(MANY):
        await bench.subscribe(f"http://h{number % 50}.example/{number}")
    gc.collect()
    tracemalloc.start()
    try:
        await bench.engine.settled()
        for number in range(POSTS):
            await bench.post(str(number))
            bench.clock.advance(milliseconds=1)
        settled = asyncio.create_task(bench.engine.settled())
        most = tasks = 0
        while not settled.done():
            most = max(most, bench.engine.waiting)
            tasks = max(tasks, len(asyncio.all_tasks()))
            bench.sender.began.clear()
            await asyncio.wait(
                [settled, asyncio.create_task(bench.sender.began.wait())],
                return_when=asyncio.FIRST_COMPLETED,
            )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(bench.sender.sent) == MANY * POSTS
    assert most <= MOST_WAITING + 4 * MANY
    assert tasks < 400
    assert peak < MANY * BYTES_PER_SUBSCRIPTION + POSTS * MANY * 300  # what the fake has noted
