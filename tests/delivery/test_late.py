"""What is sent later on: no hanging endpoint, full journal or restart delays or doubles it, and it
is held in bounded memory."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from nuska.core.subscription_records import Cursor
from nuska.delivery.retrying import BYTES_AT_ONCE, BYTES_IN_HAND, LEASE
from nuska.domain.internal import internal
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.records import ABSENT
from nuska.testing.delivering import HOUR, REFUSED, DeliveryBench

WELL = [f"http://well{number}.example/" for number in range(3)]
HANGS = "http://hangs.example/"
MANY = 150
"""Delayed messages: more than are in hand at once."""
DELAY = 10


async def told(bench: DeliveryBench, counts: dict[str, int], *, within: int) -> Counter[str]:
    """What each subscriber has had, once those named have had so many; second by second, while
    others may hang."""
    for _ in range(within):
        bench.clock.advance(seconds=1)
        settled = asyncio.create_task(bench.engine.settled())
        await asyncio.wait([settled], timeout=1.0)
        settled.cancel()
        await asyncio.wait([settled])
        had = Counter(delivery.subscriber for delivery in bench.sender.sent)
        if all(had[subscriber] >= count for subscriber, count in counts.items()):
            return had
    raise AssertionError(f"too few in time: {had}")


@pytest.fixture
async def hanging(bench: DeliveryBench) -> asyncio.Event:
    """One of the subscribers answers only when this is set."""
    bench.sender.hanging[HANGS] = asyncio.Event()
    await bench.subscribe(HANGS)
    return bench.sender.hanging[HANGS]


async def test_an_endpoint_that_hangs_delays_nobodys_delayed_messages(
    bench: DeliveryBench, hanging: asyncio.Event
) -> None:
    for each in WELL:
        await bench.subscribe(each)
    for number in range(MANY):
        await bench.post(str(number), delay=seconds(DELAY))
    had = await told(bench, dict.fromkeys(WELL, MANY), within=DELAY + 10)
    assert all(had[each] == MANY for each in WELL)
    hanging.set()


async def test_many_delayed_messages_for_one_endpoint_go_out_when_they_are_due(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(WELL[0])
    for number in range(MANY):
        await bench.post(str(number), delay=seconds(DELAY))
    await bench.pass_time(DELAY + 2)
    assert len(bench.sender.sent) == MANY


async def test_while_the_journal_is_full_late_messages_wait_and_none_is_sent_twice(
    bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.delivery.journal.FULL", 5)
    for each in WELL:
        await bench.subscribe(each)
    for number in range(MANY):
        await bench.post(str(number), delay=seconds(DELAY))
    await bench.pass_time(DELAY + 5)
    had = Counter((d.subscriber, d.body) for d in bench.sender.sent)
    assert len(had) == len(WELL) * MANY
    assert set(had.values()) == {1}
    await bench.pass_time(LEASE // 1000 + 5)
    assert len(bench.sender.sent) == len(had)


async def test_after_a_stop_in_order_what_was_left_goes_out_at_once_and_nothing_twice(
    bench: DeliveryBench, hanging: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.delivery.engine.STOP_WITHIN", 0.05)
    await bench.subscribe(WELL[0])
    await bench.post(*"abc", delay=seconds(DELAY))
    await told(bench, {WELL[0]: 3}, within=DELAY + 1)
    await bench.engine.stop()
    hanging.set()
    bench.sender.sent.clear()
    bench.new_engine()
    await bench.pass_time(2)
    assert bench.sender.bodies(WELL[0]) == []
    assert sorted(bench.sender.bodies(HANGS)) == ["a", "b", "c"]


async def test_a_retry_survives_that_its_subscription_is_told_the_past_again(
    bench: DeliveryBench,
) -> None:
    policy = {"retries_with_no_delay": 0, "minimum_delay_retries": 9, "minimum_delay": 5}
    id_ = await bench.subscribe(WELL[0], {"_retry_policy": policy})
    bench.sender.answers[WELL[0]] = REFUSED
    bench.sender.hanging[WELL[0]] = asyncio.Event()
    await bench.post("x")
    bench.sender.hanging[WELL[0]].set()
    await bench.engine.settled()
    bench.sender.hanging[WELL[0]] = asyncio.Event()
    bench.clock.advance(seconds=5)
    settled = asyncio.create_task(bench.engine.settled())
    await bench.sender.wait_under_way(WELL[0], 1)
    seen = await bench.records.cursor(bench.queue, id_)
    last = await bench.store.announcements.state(bench.queue, now=bench.clock.now())
    assert last is not None
    version = ABSENT if seen is None else seen.version
    cursor = Cursor(position=last.last, round=1)
    await bench.records.put_cursor(bench.queue, id_, cursor, version=version)
    await bench.records.note_change(bench.queue)
    bench.engine.changed(bench.queue)
    bench.engine.step()
    await asyncio.sleep(0.05)
    bench.sender.hanging[WELL[0]].set()
    await settled
    bench.sender.answers.clear()
    before = len(bench.sender.sent)
    await bench.pass_time(60)
    assert bench.sender.bodies()[before:] == ["x"]


async def test_large_messages_that_wait_are_held_to_a_number_of_bytes(
    bench: DeliveryBench, hanging: asyncio.Event
) -> None:
    body = b'"' + b"x" * 250_000 + b'"'
    for _ in range(100):
        new = NewMessage(body=body, ttl=HOUR, delay=seconds(DELAY))
        await bench.store.messages.add(bench.queue, [new], now=bench.clock.now())
    bench.engine.overhear(bench.queue, 100)
    most = 0
    for _ in range(DELAY + 10):
        bench.clock.advance(seconds=1)
        settled = asyncio.create_task(bench.engine.settled())
        await asyncio.wait([settled], timeout=0.2)
        settled.cancel()
        await asyncio.wait([settled])
        most = max(most, bench.engine._node.held.rows)
    assert 0 < most <= BYTES_IN_HAND + 8 * BYTES_AT_ONCE
    hanging.set()
    await bench.pass_time(3 * LEASE // 1000)
    assert len(set(bench.sender.bodies(HANGS))) == 1
    assert len(bench.sender.sent) == 100
    assert bench.engine._node.held.rows == 0


async def test_a_journal_full_of_large_messages_lets_nothing_more_begin(
    bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.delivery.journal.FULL_BYTES", 500_000)
    bench.sender.answers[WELL[0]] = REFUSED
    policy = {
        "retries_with_no_delay": 0,
        "minimum_delay_retries": 9,
        "minimum_delay": 3000,
        "maximum_delay": 3600,
    }
    for number in range(20):
        await bench.subscribe(f"{WELL[0]}{number}", {"_retry_policy": policy})
        bench.sender.answers[f"{WELL[0]}{number}"] = REFUSED
    body = b'"' + b"x" * 250_000 + b'"'
    await bench.store.messages.add(
        bench.queue, [NewMessage(body=body, ttl=HOUR)], now=bench.clock.now()
    )
    held = bench.engine._node.held
    monkeypatch.setattr(bench.engine, "flush_all", lambda: None)
    bench.engine.overhear(bench.queue, 1)
    await bench.engine.settled()
    assert 500_000 <= held.unwritten <= 2_000_000
    monkeypatch.undo()
    await bench.engine.settled()
    assert held.unwritten == 0


async def test_a_journal_that_fills_while_it_is_written_holds_nobody_up_for_ever(
    bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nuska.delivery.journal.FULL", 40)
    await bench.subscribe(WELL[0])
    await bench.engine.settled()
    add, writing, written = bench.store.messages.add, asyncio.Event(), asyncio.Event()

    async def slow(queue: QueueRef, messages: list[NewMessage], **more: Any) -> Any:
        if queue == internal("attempts", bench.queue):
            writing.set()
            await written.wait()
        return await add(queue, messages, **more)

    monkeypatch.setattr(bench.store.messages, "add", slow)
    for number in range(25):
        await bench.post(str(number))
        bench.clock.advance(milliseconds=1)
    settled = asyncio.create_task(bench.engine.settled())
    async with asyncio.timeout(10):
        await writing.wait()
        for number in range(25, 90):
            await bench.post(str(number))
            bench.clock.advance(milliseconds=1)
        while len(bench.sender.sent) < 40:
            bench.engine.step()
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)  # and no more than that begins
        begun = len(bench.sender.sent)
        written.set()
        await settled
    assert begun < 90
    await bench.pass_time(5)
    assert set(bench.sender.bodies()) == {str(number) for number in range(90)}
