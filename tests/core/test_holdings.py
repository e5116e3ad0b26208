"""What a project holds, where the store's own counts say more, or cost more."""

import asyncio

import pytest

from nuska.core.holdings import Holdings
from nuska.domain.errors import Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import Position
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock) -> MemoryStore:
    return MemoryStore(now=clock.now(), random_bytes=seeded_bytes())


async def test_queues_are_counted_one_by_one_when_the_stores_count_leaves_no_room(
    store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have an entry of a queue that somebody died over making."""
    for number in range(250):
        await store.queues.create(QueueRef("acme", f"q{number:03}"), {}, now=clock.now())
    count = store.queues.count

    async def one_too_many(project: str) -> int:
        return await count(project) + 1

    monkeypatch.setattr(store.queues, "count", one_too_many)
    holdings = Holdings(store, None, clock)
    assert await holdings.queues("acme", (1000,)) == (252,)
    assert await holdings.queues("acme", (252,)) == (250,)


async def test_messages_are_measured_only_where_bytes_are_limited(
    store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = NewMessage(body=b"12345", ttl=seconds(60))
    await store.messages.add(QueueRef("acme", "jobs"), [new] * 3, now=clock.now())
    holdings = Holdings(store, None, clock)
    assert await holdings.posted("acme", (None, 100)) == (3, 15)

    async def measure(*_: object, after: Position, **__: object) -> None:
        raise AssertionError(after)

    monkeypatch.setattr(store.messages, "measure", measure)
    assert await holdings.posted("acme", (100, None)) == (3, 0)


async def test_when_one_queue_cannot_be_looked_at_nothing_goes_on_behind_that_answer(
    store: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        await store.queues.create(QueueRef("acme", name), {}, now=clock.now())
    going_on = set()

    async def stats(queue: QueueRef, **_: object) -> None:
        if queue.name == "c":
            raise Unavailable("The pool is down.")
        going_on.add(queue.name)
        try:
            await asyncio.Future()
        finally:
            going_on.remove(queue.name)

    monkeypatch.setattr(store.queues, "stats", stats)
    with pytest.raises(Unavailable, match="The pool is down"):
        await Holdings(store, None, clock).posted("acme", (100, None))
    assert not going_on
