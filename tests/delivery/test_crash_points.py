"""I18 at every single call of the store: whenever the process dies, before or after the call took
effect, whoever comes after delivers everything to everybody, and has it recorded."""

import asyncio
import logging
from typing import Any, cast

import pytest

from nuska.domain.moments import seconds
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.notifications import Notification, Outcome
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import OK, REFUSED, DeliveryBench
from nuska.testing.dying_store import DyingStore

STEADY, SHAKY, ORDERED = "http://a.example/", "http://b.example/", "http://c.example/"
POSTS = (("a1", "a2", "a3"), ("b1",), ("bad", "b3"))
LATE = "late"
ALL = {body for post in POSTS for body in post} | {LATE}
LONG_ENOUGH = 150
"""Seconds in which every retry has been made."""
POINTS_PER_PART = 25
PARTS = 6


def shaky(notification: Notification) -> Outcome:
    """Everything fails five times: at once, and once later on."""
    return OK if notification.attempt > 5 else REFUSED


def picky(notification: Notification) -> Outcome:
    bad = notification.message.body == b'"bad"'
    return REFUSED if bad and notification.attempt <= 5 else OK


async def scenario(bench: DeliveryBench) -> list[SubscriptionId]:
    """What the process does that dies."""
    bench.sender.answers = {SHAKY: shaky, ORDERED: picky}
    made = [
        await bench.subscribe(STEADY),
        await bench.subscribe(SHAKY),
        await bench.subscribe(ORDERED, {"ordered": True}),
    ]
    for post in POSTS:
        await bench.post(*post)
        bench.clock.advance(milliseconds=10)
    await bench.post(LATE, delay=seconds(3))
    return made


async def die_at(point: int, *, takes_effect: bool) -> bool:
    """Die there and start anew; False when nobody died: there is no such call."""
    clock = ManualClock()
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    bench = DeliveryBench(store, clock)
    subscriptions = await scenario(bench)
    dying = DyingStore(store, point, takes_effect=takes_effect)
    bench.store = cast(Any, dying)
    bench.new_engine()
    running = asyncio.create_task(bench.pass_time(8))
    died = asyncio.create_task(dying.died.wait())
    await asyncio.wait([running, died], return_when=asyncio.FIRST_COMPLETED)
    has_died = dying.died.is_set()
    await cut_off()
    bench.store = store
    bench.new_engine()
    await bench.pass_time(LONG_ENOUGH)
    for subscription, subscriber in zip(subscriptions, (STEADY, SHAKY, ORDERED), strict=True):
        assert set(bench.sender.bodies(subscriber)) == ALL
        done = {a.message for a in await bench.attempts(subscription) if a.ok}
        assert len(done) == len(ALL)
    assert await bench.dead() == 0
    in_order = [b for b in bench.sender.bodies(ORDERED) if b not in ("bad", LATE)]
    assert sorted(set(in_order), key=in_order.index) == ["a1", "a2", "a3", "b1", "b3"]
    await bench.engine.stop()
    return has_died


async def cut_off() -> None:
    """What a killed process was doing ends in the middle of it."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        if task is not None:
            task.cancel()
    await asyncio.gather(*filter(None, others), return_exceptions=True)


@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("part", range(PARTS))
async def test_everything_arrives_and_is_recorded_wherever_the_process_dies(
    part: int, takes_effect: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    first = part * POINTS_PER_PART
    for point in range(first + 1, first + POINTS_PER_PART + 1):
        if not await die_at(point, takes_effect=takes_effect):
            assert part, "it died nowhere"
            return


async def test_the_parts_reach_the_last_call() -> None:
    assert not await die_at(PARTS * POINTS_PER_PART, takes_effect=False)
