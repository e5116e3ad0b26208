"""Records of subscriptions: found by their keys, changed only by who has seen them last."""

import pytest

from nuska.core.subscription_records import (
    SHARED,
    Cursor,
    Followed,
    Subscriber,
    SubscriptionRecords,
    followed_key,
    shard_of,
)
from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import Position
from nuska.domain.subscriptions import Disabled, Subscription, SubscriptionId
from nuska.interfaces.records import ABSENT
from nuska.stores.memory.records import MemoryRecords
from nuska.testing.clock import START

JOBS = QueueRef("acme", "jobs")
TOPIC = topic("acme", "jobs")
NEXT_DOOR = QueueRef("acme", "jobs2")


def subscription(number: int, queue: QueueRef = JOBS) -> Subscription:
    return Subscription(
        id=SubscriptionId(f"{number:024x}"),
        queue=queue,
        subscriber=f"http://hooks.example/{number}",
        ttl=seconds(60),
        options={"_retry_policy": {"minimum_delay": 5}, "é": [1, None]},
        created_at=START,
        restarted_at=START,
        expires_at=START,
        since=Position(7),
        disabled=Disabled("410 Gone", START),
    )


@pytest.fixture
def records() -> SubscriptionRecords:
    return SubscriptionRecords(MemoryRecords())


async def test_subscriptions_of_a_queue_are_its_own_and_come_in_order_of_id(
    records: SubscriptionRecords,
) -> None:
    for number in range(250, 0, -1):
        await records.put_subscription(subscription(number), version=ABSENT)
    for elsewhere in (TOPIC, NEXT_DOOR):
        await records.put_subscription(subscription(999, elsewhere), version=ABSENT)
    found = [seen.value async for seen in records.all_subscriptions(JOBS)]
    assert found == [subscription(number) for number in range(1, 251)]
    two = await records.subscriptions(JOBS, after=found[0].id, limit=2)
    assert [seen.value for seen in two] == found[1:3]


async def test_a_subscription_changes_only_by_whoever_has_seen_it_last(
    records: SubscriptionRecords,
) -> None:
    version = await records.put_subscription(subscription(1), version=ABSENT)
    assert version
    assert await records.put_subscription(subscription(1), version=ABSENT) is None
    seen = await records.subscription(JOBS, subscription(1).id)
    assert seen is not None
    assert await records.put_subscription(subscription(1), version=version)
    assert not await records.remove_subscription(seen)


async def test_every_change_of_a_followed_queue_is_another_version_and_clearing_only_goes_up(
    records: SubscriptionRecords,
) -> None:
    await records.note_change(JOBS, cleared=Position(9))
    first = await records.followed(JOBS)
    await records.note_change(JOBS, cleared=Position(5))
    second = await records.followed(JOBS)
    assert first is not None
    assert second is not None
    assert second.value == Followed(changes=2, cleared=Position(9))
    assert not await records.remove_followed(JOBS, version=first.version)
    assert await records.remove_followed(JOBS, version=second.version)


async def test_a_shard_tells_queues_and_topics_apart_and_is_read_page_by_page(
    records: SubscriptionRecords,
) -> None:
    queues = {QueueRef("acme", f"q{number}") for number in range(40)} | {TOPIC, JOBS}
    for queue in queues:
        await records.note_change(queue)
    found: list[QueueRef] = []
    for shard in {shard_of(queue) for queue in queues}:
        after = ""
        while page := await records.followed_in(shard, after=after, limit=2):
            found += [queue for queue, _ in page]
            after = followed_key(page[-1][0])
    assert len(found) == len(queues)
    assert set(found) == queues


async def test_cursors_of_a_queue_are_the_shared_one_and_those_of_its_subscriptions(
    records: SubscriptionRecords,
) -> None:
    await records.put_cursor(JOBS, SHARED, Cursor(position=Position(5)), version=ABSENT)
    for number in range(1, 4):
        cursor = Cursor(position=Position(number), failures=number)
        await records.put_cursor(JOBS, subscription(number).id, cursor, version=ABSENT)
    await records.put_cursor(NEXT_DOOR, SHARED, Cursor(position=Position(8)), version=ABSENT)
    cursors = await records.cursors(JOBS)
    assert {key: seen.value.position for key, seen in cursors.items()} == {
        SHARED: 5,
        **{subscription(number).id: number for number in range(1, 4)},
    }


async def test_a_subscriber_leads_to_its_subscription_whatever_it_consists_of(
    records: SubscriptionRecords,
) -> None:
    odd = "http://hooks.example/\x1f/é?" + "x" * 5000
    version = await records.put_subscriber(
        JOBS, odd, Subscriber(SubscriptionId("a")), version=ABSENT
    )
    seen = await records.subscriber(JOBS, odd)
    assert seen is not None
    assert (seen.value.id, seen.version) == ("a", version)
    assert await records.subscriber(TOPIC, odd) is None
