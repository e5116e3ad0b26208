"""Live listeners on the embedded store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import open_store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.live import LiveBench

JOBS = QueueRef("acme", "jobs")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bench(tmp_path: Path, clock: ManualClock) -> AsyncIterator[LiveBench]:
    options = StoreOptions(
        url="sqlite:", data_dir=str(tmp_path), now=clock.now(), random_bytes=seeded_bytes()
    )
    store = await open_store(options)
    bench = LiveBench(store, clock)
    yield bench
    await bench.live.stop()
    await store.close()


async def test_who_begins_to_listen_to_a_queue_that_is_there_has_missed_nothing(
    bench: LiveBench, clock: ManualClock
) -> None:
    await bench.store.queues.create(JOBS, {}, now=clock.now())
    clock.advance(seconds=5)
    ear, _ = await bench.listen(JOBS)
    await bench.settled()
    clock.advance(seconds=5)
    await bench.post(JOBS, "a")
    assert await ear.until(1) == ["a"]
    assert ear.gaps == []


async def test_posts_of_one_millisecond_are_each_a_place_to_come_back_to(bench: LiveBench) -> None:
    """Deliveries take them for one post (ADR 13); a marker tells them apart (I21)."""
    ear, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "0")
    await bench.post(JOBS, "1", "2", "3")
    for number in range(4, 12):
        await bench.post(JOBS, str(number))
    bodies = await ear.until(12)
    assert bodies == [str(number) for number in range(12)]
    assert len({item.message.created_at for item in ear.heard}) == 1
    for number, item in enumerate(ear.heard):
        again, listening = await bench.listen(JOBS, after=item.marker)
        await bench.settled()
        assert again.bodies == bodies[number + 1 :]
        assert again.gaps == []
        listening.close()
