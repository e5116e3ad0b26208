"""How long logs are kept for listeners, together with those who carry notifications out."""

from collections.abc import AsyncIterator

import pytest

from nuska.core.live import LiveBounds
from nuska.core.live_logs import RENEWED_BEFORE, LiveLogs
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.engine import Engine
from nuska.domain.messages import QueueRef
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.delivering import DeliveryBench
from nuska.testing.live import LiveBench

JOBS = QueueRef("acme", "jobs")
KEPT = 60
WHO = "http://a.example/"


class Bench(LiveBench):
    """A core, and a delivery engine beside it as in the service."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        bounds = LiveBounds(live_kept=KEPT, live_kept_messages=1_000)
        super().__init__(store, clock, bounds)
        self.manual = clock
        self.delivering = DeliveryBench(store, clock)
        self.delivering.engine = Engine(
            store,
            clock,
            seeded_bytes(9),
            {"http": self.delivering.sender},
            bounds=DeliveryBounds(announcements_kept=0),
            may_be_told=lambda _: True,
            listened=self.logs,
        )

    @property
    def logs(self) -> LiveLogs:
        assert self.live.logs is not None
        return self.live.logs

    async def is_open(self) -> bool:
        state = await self.store.announcements.state(JOBS, now=self.clock.now())
        return state is not None

    async def in_log(self) -> list[str]:
        page = await self.store.announcements.page(
            JOBS, after=BEFORE_ALL, limit=10_000, now=self.clock.now()
        )
        return [message.body.decode().strip('"') for message in page]

    async def tend(self) -> None:
        for reader in self.live.readers.values():
            reader.tend_soon()
        await self.settled()

    async def pass_time(self, seconds: int) -> None:
        """As it passes in a process whose tasks run."""
        for _ in range(0, seconds, 10):
            self.manual.advance(seconds=10)
            await self.tend()
            await self.delivering.engine.settled()

    def over(self) -> None:
        """Until nobody has listened for long enough."""
        self.manual.advance(seconds=KEPT, milliseconds=RENEWED_BEFORE)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clock = ManualClock()
    bench = Bench(MemoryStore(now=clock.now(), random_bytes=seeded_bytes()), clock)
    yield bench
    await bench.live.stop()


async def test_a_log_is_kept_for_a_while_after_the_last_listener_and_then_closed(
    bench: Bench,
) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "a")
    await bench.settled()
    marker = listening.marker(JOBS)
    listening.close()
    await bench.live.stop()
    bench.manual.advance(seconds=KEPT)
    await bench.live.close_over()
    assert await bench.is_open()
    await bench.post(JOBS, "b")
    later = Bench(bench.store, bench.manual)  # type: ignore[arg-type]
    ear, listening = await later.listen(JOBS, after=marker)
    await later.settled()
    assert ear.bodies == ["b"]
    assert ear.gaps == []
    await later.live.stop()
    bench.over()
    bench.over()
    await later.live.close_over()
    assert not await bench.is_open()


async def test_a_log_that_was_closed_and_opened_again_is_a_gap(bench: Bench) -> None:
    _, listening = await bench.listen(JOBS)
    marker = listening.marker(JOBS)
    await bench.live.stop()
    bench.over()
    await bench.live.close_over()
    await bench.post(JOBS, "lost")
    later = Bench(bench.store, bench.manual)  # type: ignore[arg-type]
    ear, _ = await later.listen(JOBS, after=marker)
    await later.post(JOBS, "a")
    await later.settled()
    assert ear.bodies == ["a"]
    assert [gap.after for gap in ear.gaps] == [marker]
    await later.live.stop()


async def test_a_log_that_is_listened_to_stays_open(bench: Bench) -> None:
    ear, _ = await bench.listen(JOBS)
    for _ in range(30):
        bench.manual.advance(seconds=20)
        await bench.tend()
        await bench.live.close_over()
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    assert ear.gaps == []


async def test_what_is_old_is_dropped_from_the_log_and_what_is_new_is_not(bench: Bench) -> None:
    await bench.listen(JOBS)
    await bench.post(JOBS, "old")
    await bench.pass_time(KEPT // 2)
    await bench.post(JOBS, "new")
    await bench.pass_time(KEPT // 2 + 10)
    assert await bench.in_log() == ["new"]


async def test_of_many_messages_no_more_than_so_many_are_kept(bench: Bench) -> None:
    await bench.listen(JOBS)
    for number in range(40):
        await bench.post(JOBS, *(f"{number}.{n}" for n in range(100)))
        await bench.settled()
    await bench.tend()
    kept = await bench.in_log()
    assert kept[-1] == "39.99"
    assert 1_000 <= len(kept) <= 1_600


async def test_a_delayed_message_stays_in_the_log_until_it_was_told(bench: Bench) -> None:
    ear, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "late", delay=600)
    for _ in range(4):
        await bench.post(JOBS, *(f"{n}" for n in range(500)))
        await bench.pass_time(100)
    assert "late" not in ear.bodies
    await bench.pass_time(210)
    assert ear.bodies[-1] == "late"
    await bench.pass_time(KEPT + 20)
    assert await bench.in_log() == []


async def test_the_engine_keeps_what_listeners_may_come_back_for(bench: Bench) -> None:
    """It alone would drop at once what everybody was sent."""
    await bench.delivering.subscribe(WHO)
    _, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "a")
    bench.delivering.engine.overhear(JOBS, 1)
    marker = listening.marker(JOBS)
    await bench.pass_time(KEPT - 20)
    assert bench.delivering.sender.bodies() == ["a"]
    assert await bench.in_log() == ["a"]
    await bench.pass_time(60)
    await bench.post(JOBS, "b")  # the engine tidies up after deliveries
    bench.delivering.engine.overhear(JOBS, 1)
    await bench.pass_time(20)
    assert await bench.in_log() == ["b"]
    ear, _ = await bench.listen(JOBS, after=marker)
    await bench.settled()
    assert [gap.after for gap in ear.gaps] == [marker]


async def test_listeners_drop_nothing_that_a_subscription_needs(bench: Bench) -> None:
    await bench.delivering.subscribe(WHO)
    await bench.delivering.engine.settled()
    await bench.listen(JOBS)
    bench.manual.advance(seconds=1)
    await bench.post(JOBS, "a")  # and nobody tells the engine
    for _ in range(20):
        bench.manual.advance(seconds=20)
        await bench.tend()
    assert await bench.in_log() == ["a"]
    await bench.delivering.engine.settled()
    bench.delivering.engine.overhear(JOBS, 1)
    await bench.delivering.engine.settled()
    assert bench.delivering.sender.bodies() == ["a"]


async def test_the_log_stays_open_for_listeners_when_the_last_subscription_goes(
    bench: Bench,
) -> None:
    made = await bench.delivering.subscribe(WHO)
    ear, listening = await bench.listen(JOBS)
    await bench.delivering.engine.settled()
    await _unsubscribe(bench, made)
    assert await bench.delivering.records.followed(JOBS) is None
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    assert ear.gaps == []
    listening.close()
    await bench.live.stop()
    bench.over()
    await bench.live.close_over()
    assert not await bench.is_open()


async def test_the_log_stays_open_for_subscriptions_when_the_last_listener_goes(
    bench: Bench,
) -> None:
    made = await bench.delivering.subscribe(WHO)
    await bench.delivering.engine.settled()
    await bench.listen(JOBS)
    await bench.live.stop()
    bench.over()
    await bench.live.close_over()
    assert await bench.is_open()
    await bench.post(JOBS, "a")
    bench.delivering.engine.overhear(JOBS, 1)
    await bench.delivering.engine.settled()
    assert bench.delivering.sender.bodies() == ["a"]
    await _unsubscribe(bench, made)
    assert not await bench.is_open()


async def _unsubscribe(bench: Bench, made: str) -> None:
    records = bench.delivering.records
    seen = await records.subscription(JOBS, made)
    assert seen is not None
    await records.remove_subscription(seen)
    await records.note_change(JOBS)
    bench.delivering.engine.changed(JOBS)
    await bench.delivering.engine.settled()
