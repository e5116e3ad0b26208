"""Live listeners on the embedded store."""

from pathlib import Path

from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import open_store
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.live import LiveBench

JOBS = QueueRef("acme", "jobs")


async def test_who_begins_to_listen_to_a_queue_that_is_there_has_missed_nothing(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    store = await open_store(
        StoreOptions(
            url="sqlite:", data_dir=str(tmp_path), now=clock.now(), random_bytes=seeded_bytes()
        )
    )
    bench = LiveBench(store, clock)
    try:
        await store.queues.create(JOBS, {}, now=clock.now())
        clock.advance(seconds=5)
        ear, _ = await bench.listen(JOBS)
        await bench.settled()
        clock.advance(seconds=5)
        await bench.post(JOBS, "a")
        assert await ear.until(1) == ["a"]
        assert ear.gaps == []
    finally:
        await bench.live.stop()
        await store.close()
