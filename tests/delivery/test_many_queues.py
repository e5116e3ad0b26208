"""Many followed queues cost little while nothing happens to them, and none is forgotten."""

from typing import Any

import pytest

from nuska.core.subscription_records import SHARDS
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration
from nuska.testing.delivering import HOUR, DeliveryBench

A = "http://a.example/"
QUEUES = [QueueRef("acme", f"queue-{number}") for number in range(200)]


@pytest.fixture
async def reads(bench: DeliveryBench, monkeypatch: pytest.MonkeyPatch) -> list[QueueRef]:
    """Whose logs are read, once many queues are followed."""
    for queue in QUEUES:
        await bench.subscribe(A, queue=queue)
    await bench.engine.settled()
    found: list[QueueRef] = []
    page = bench.store.announcements.page

    async def noted(queue: QueueRef, **more: Any) -> Any:
        found.append(queue)
        return await page(queue, **more)

    monkeypatch.setattr(bench.store.announcements, "page", noted)
    monkeypatch.setattr("nuska.delivery.following.RECHECKED_AFTER", 0.0)
    monkeypatch.setattr("nuska.delivery.following.RECHECKED", 1)
    return found


def look(bench: DeliveryBench) -> None:
    bench.engine._following.look_again()


async def test_a_look_at_all_followed_queues_wakes_a_few_of_each_shard_in_turn(
    bench: DeliveryBench, reads: list[QueueRef]
) -> None:
    for _ in range(5):
        look(bench)
        await bench.engine.settled()
    assert len(reads) <= 5 * SHARDS
    assert len(set(reads)) == len(reads), "each time others"


async def test_a_message_that_nobody_told_of_is_found_in_the_end(
    bench: DeliveryBench, reads: list[QueueRef]
) -> None:
    new = NewMessage(body=b'"untold"', ttl=HOUR, delay=Duration(0))
    await bench.store.messages.add(QUEUES[-1], [new], now=bench.clock.now())
    for _ in QUEUES:
        look(bench)
        await bench.engine.settled()
    assert bench.sender.bodies() == ["untold"]


async def test_a_look_finds_a_subscription_that_nobody_told_of(
    bench: DeliveryBench, reads: list[QueueRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.engine, "changed", lambda _: None)
    await bench.subscribe("http://b.example/", queue=QUEUES[7])
    look(bench)
    await bench.engine.settled()
    await bench.post("x", queue=QUEUES[7])
    await bench.engine.settled()
    assert sorted(d.subscriber for d in bench.sender.sent) == [A, "http://b.example/"]


async def test_a_stream_of_single_posts_is_read_by_the_handful(
    bench: DeliveryBench, reads: list[QueueRef]
) -> None:
    reads.clear()
    for number in range(100):
        await bench.post(str(number), queue=QUEUES[0])
        bench.engine.step()
    await bench.engine.settled()
    assert len(bench.sender.sent) == 100
    assert len(reads) < 50
