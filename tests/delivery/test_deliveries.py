"""What subscribers are told, in which order, and when: under a clock that stands still."""

import asyncio

import pytest
from msgspec.structs import replace

from nuska.domain.messages import NewMessage
from nuska.domain.moments import seconds
from nuska.testing.clock import START
from nuska.testing.delivering import GONE, OK, REFUSED, WRONG, DeliveryBench

A, B = "http://a.example/in", "http://b.example/in"
DEFAULT_SCHEDULE = [0, 0, 0, 0, 5, 10, 15, 20, 30, 45, 65, 90, 120, 150, 180]
"""Seconds after the post: at once, three times at once, three times after 5 s, then after 5, 10,
15, 20 and 25, and three times after 30."""


async def test_every_subscriber_is_told_of_every_message_posted_after_he_subscribed(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(A)
    await bench.post("early")
    await bench.engine.settled()
    await bench.subscribe(B)
    await bench.post("one", "two")
    await bench.post("three")
    await bench.engine.settled()
    assert bench.sender.bodies(A) == ["early", "one", "two", "three"]
    assert bench.sender.bodies(B) == ["one", "two", "three"]


async def test_what_was_delivered_is_not_delivered_again_by_who_comes_after(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(A)
    await bench.post("one")
    await bench.engine.settled()
    await bench.engine.stop()
    engine = bench.new_engine()
    await bench.post("two")
    await engine.settled()
    assert bench.sender.bodies(A) == ["one", "two"]


async def test_a_failed_delivery_is_tried_exactly_when_the_policy_says_and_then_given_up(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[A] = REFUSED
    subscription = await bench.subscribe(A)
    await bench.post("one")
    await bench.engine.settled()
    await bench.pass_time(200)
    assert [(d.at - START) // 1000 for d in bench.sender.sent] == DEFAULT_SCHEDULE
    assert [d.attempt for d in bench.sender.sent] == list(range(1, 16))
    attempts = await bench.attempts(subscription)
    assert [(a.at - START) // 1000 for a in attempts] == DEFAULT_SCHEDULE
    assert [a.next_at for a in attempts[:-1]] == [a.at for a in attempts[1:]]
    assert attempts[-1].next_at is None
    assert await bench.dead() == 1


async def test_retries_go_on_where_they_were_after_a_restart(bench: DeliveryBench) -> None:
    bench.sender.answers[A] = REFUSED
    await bench.subscribe(A)
    await bench.post("one")
    await bench.engine.settled()
    for _ in range(20):
        await bench.engine.stop()
        bench.new_engine()
        await bench.pass_time(10)
    times = [(d.at - START) // 1000 for d in bench.sender.sent]
    assert times == DEFAULT_SCHEDULE


async def test_the_queues_policy_counts_where_the_subscription_has_none(
    bench: DeliveryBench,
) -> None:
    policy = {
        "retries_with_no_delay": 1,
        "minimum_delay_retries": 1,
        "minimum_delay": 3,
        "maximum_delay": 13,
        "maximum_delay_retries": 0,
    }
    await bench.store.queues.create(bench.queue, {"_retry_policy": policy}, now=bench.clock.now())
    bench.sender.answers[A] = bench.sender.answers[B] = REFUSED
    await bench.subscribe(A)
    await bench.subscribe(B, {"_retry_policy": {**policy, "minimum_delay": 2}})
    await bench.post("one")
    await bench.engine.settled()
    await bench.pass_time(60)
    at = {
        who: [(d.at - START) // 1000 for d in bench.sender.sent if d.subscriber == who]
        for who in (A, B)
    }
    assert at[A][:3] == [0, 0, 3]
    assert at[B][:3] == [0, 0, 2]
    assert await bench.dead() == 2


async def test_one_failed_message_does_not_hold_up_the_others_of_its_post(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[A] = lambda n: REFUSED if n.message.body == b'"bad"' else OK
    await bench.subscribe(A)
    await bench.post("bad", "good", "better")
    await bench.engine.settled()
    assert bench.sender.bodies(A) == ["bad"] * 4 + ["good", "better"]


async def test_messages_of_one_post_go_one_after_another_and_posts_side_by_side(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(A)
    await bench.post("warm")
    await bench.engine.settled()
    bench.sender.hanging[A] = asyncio.Event()
    await bench.post(*"abc")
    bench.clock.advance(milliseconds=5)
    await bench.post("d")
    settled = asyncio.create_task(bench.engine.settled())
    await bench.sender.wait_under_way(A, 2)
    assert sorted(bench.sender.bodies(A)) == ["a", "d", "warm"]
    bench.sender.hanging[A].set()
    await settled
    assert [b for b in bench.sender.bodies(A) if b in "abc"] == ["a", "b", "c"]
    assert bench.sender.most_under_way[A] == 2


async def test_a_subscription_that_asks_for_order_gets_the_order_of_the_queue_whatever_fails(
    bench: DeliveryBench,
) -> None:
    failing = True
    bench.sender.answers[A] = lambda n: REFUSED if failing and n.message.body == b'"b"' else OK
    await bench.subscribe(A, {"ordered": True})
    for body in "abcde":
        await bench.post(body)
        bench.clock.advance(milliseconds=10)
    await bench.engine.settled()
    await bench.pass_time(12)
    assert set(bench.sender.bodies(A)) == {"a", "b"}
    failing = False
    await bench.pass_time(10)
    assert [b for b in bench.sender.bodies(A) if b != "b"] == ["a", "c", "d", "e"]
    assert bench.sender.bodies(A)[-3:] == ["c", "d", "e"]


async def test_a_delayed_message_is_told_when_it_is_due_to_those_who_had_subscribed(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(A)
    await bench.subscribe(B)
    await bench.post("late", delay=seconds(30))
    await bench.post("now")
    await bench.engine.settled()
    assert bench.sender.bodies() == ["now", "now"]
    await bench.subscribe("http://c.example/")
    await bench.engine.stop()
    bench.new_engine()
    await bench.pass_time(29)
    assert bench.sender.bodies() == ["now", "now"]
    await bench.pass_time(1)
    assert bench.sender.bodies() == ["now", "now", "late", "late"]


async def test_a_final_answer_is_not_tried_again_and_kept_as_a_dead_letter(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[A] = WRONG
    await bench.subscribe(A)
    await bench.post("one")
    await bench.engine.settled()
    await bench.pass_time(60)
    assert bench.sender.bodies() == ["one"]
    assert await bench.dead() == 1


async def test_who_answers_that_he_is_gone_is_disabled_with_a_reason_until_somebody_repairs_it(
    bench: DeliveryBench,
) -> None:
    bench.sender.answers[A] = GONE
    subscription = await bench.subscribe(A)
    await bench.post("one")
    await bench.engine.settled()
    await bench.post("two")
    await bench.pass_time(100)
    assert bench.sender.bodies() == ["one"]
    seen = await bench.records.subscription(bench.queue, subscription)
    assert seen is not None
    assert seen.value.disabled is not None
    assert seen.value.disabled.reason == "410 Gone"
    bench.sender.answers[A] = OK
    repaired = bench.sender.sent.copy()
    await bench.records.put_subscription(replace(seen.value, disabled=None), version=seen.version)
    await bench.records.note_change(bench.queue)
    bench.engine.changed(bench.queue)
    await bench.engine.settled()
    assert bench.sender.bodies()[len(repaired) :] == ["one", "two"]


async def test_an_expired_message_and_an_expired_subscription_are_told_of_nothing(
    bench: DeliveryBench,
) -> None:
    await bench.subscribe(A, ttl=seconds(60))
    bench.sender.answers[B] = REFUSED
    await bench.subscribe(B)
    await bench.post("short", ttl=seconds(20))
    await bench.engine.settled()
    await bench.pass_time(70)
    assert max(d.at for d in bench.sender.sent) - START < 20_000
    await bench.post("later")
    await bench.engine.settled()
    assert "later" not in bench.sender.bodies(A)


@pytest.mark.parametrize("restart", [False, True])
async def test_what_is_purged_is_not_sent_any_more(bench: DeliveryBench, restart: bool) -> None:
    bench.sender.answers[A] = REFUSED
    await bench.subscribe(A)
    await bench.post(*(f"m{n}" for n in range(20)))
    await bench.engine.settled()
    if restart:
        await bench.engine.stop()
    now = bench.clock.now()
    await bench.store.queues.purge(bench.queue, now=now)
    state = await bench.store.announcements.state(bench.queue, now=now)
    assert state is not None
    await bench.records.note_change(bench.queue, cleared=state.last)
    before = len(bench.sender.sent)
    if restart:
        bench.new_engine()
    else:
        bench.engine.changed(bench.queue)
    bench.sender.answers[A] = OK
    await bench.pass_time(100)
    await bench.post("after")
    await bench.pass_time(100)
    assert bench.sender.bodies()[before:] == ["after"]


async def test_when_nobody_is_left_the_log_is_closed_and_nothing_remains(
    bench: DeliveryBench,
) -> None:
    subscription = await bench.subscribe(A)
    await bench.post("one")
    await bench.engine.settled()
    seen = await bench.records.subscription(bench.queue, subscription)
    assert seen is not None
    await bench.records.remove_subscription(seen)
    await bench.records.note_change(bench.queue)
    bench.engine.changed(bench.queue)
    await bench.engine.settled()
    assert await bench.store.announcements.state(bench.queue, now=bench.clock.now()) is None
    assert await bench.records.followed(bench.queue) is None
    assert await bench.records.cursors(bench.queue) == {}
    assert bench.engine.followed == 0
    await bench.subscribe(A)
    await bench.post("two")
    await bench.engine.settled()
    assert bench.sender.bodies() == ["one", "two"]


async def test_a_filter_decides_what_a_subscriber_is_told_of(bench: DeliveryBench) -> None:
    await bench.subscribe(A, {"filter": {"body": {"kind": ["x"]}}})
    await bench.subscribe(B)
    for body in (b'{"kind":"x"}', b'{"kind":"y"}'):
        await bench.store.messages.add(
            bench.queue, [NewMessage(body=body, ttl=seconds(60))], now=bench.clock.now()
        )
    bench.engine.overhear(bench.queue, 2)
    await bench.engine.settled()
    assert bench.sender.bodies(A) == ['{"kind":"x"}']
    assert len(bench.sender.bodies(B)) == 2


async def test_who_has_fallen_behind_alone_gets_all_that_came_meanwhile(
    bench: DeliveryBench,
) -> None:
    """While nobody is in step nothing is read for those who are; he is again, and it is."""
    await bench.subscribe(A)
    expected = [str(number) for number in range(200)]
    for body in expected:
        await bench.post(body)
    await bench.engine.settled()
    assert sorted(bench.sender.bodies(A), key=int) == expected
