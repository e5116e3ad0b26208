"""Live listeners under a manual clock, on the model store."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from msgspec.structs import replace

from nuska.core.live import Announced, Ending, LiveBounds
from nuska.core.live_late import HANDED_OUT_AT_ONCE
from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.markers import Marker, parse_live_marker
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Moment, seconds
from nuska.domain.positions import BEYOND_ALL, Position, floor_at
from nuska.interfaces.announcing import OpenLog
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.live import Ear, LiveBench

JOBS = QueueRef("acme", "jobs")
NEWS = QueueRef("acme", "news")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def bench(clock: ManualClock) -> AsyncIterator[LiveBench]:
    bench = LiveBench(MemoryStore(now=clock.now(), random_bytes=seeded_bytes()), clock)
    yield bench
    await bench.live.stop()


async def test_a_listener_is_told_of_what_is_posted_after_it_began(bench: LiveBench) -> None:
    await bench.post(JOBS, "before")
    ear, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "a", "b")
    await bench.post(NEWS, "elsewhere")
    await bench.post(JOBS, "c")
    await bench.settled()
    assert ear.bodies == ["a", "b", "c"]
    assert ear.gaps == []


async def test_a_message_that_was_deleted_before_it_was_read_is_told(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS)
    listening.hold()
    await bench.post(JOBS, "a")
    await bench.store.messages.pop(JOBS, limit=1, now=bench.clock.now())
    listening.go_on()
    await bench.settled()
    assert ear.bodies == ["a"]


async def test_nothing_is_told_before_the_listening_goes_on(bench: LiveBench) -> None:
    ear = Ear()
    listening = await bench.live.listen("acme", (JOBS,), ear)
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == []
    listening.go_on()
    await bench.settled()
    assert ear.bodies == ["a"]


async def test_all_receivers_get_the_same_objects_and_encode_once(bench: LiveBench) -> None:
    ears = [(await bench.listen(JOBS))[0] for _ in range(250)]
    await bench.settled()
    made: list[Announced] = []

    def encode(item: Announced) -> bytes:
        made.append(item)
        return item.message.body

    await bench.post(JOBS, "a", "b", "c")
    await bench.settled()
    for ear in ears:
        assert [item.encoded("plain", encode) for item in ear.heard] == [b'"a"', b'"b"', b'"c"']
        assert ear.calls == 1
    assert len(made) == 3


async def test_others_get_turns_while_a_crowd_is_told(clock: ManualClock) -> None:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    bench = LiveBench(store, clock, LiveBounds(max_listeners=5_000))
    turns = told = 0

    class One(Ear):
        def take(self, batch: Sequence[Announced]) -> None:
            nonlocal told
            told += len(batch)

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    await asyncio.gather(*(bench.listen(JOBS, ear=One()) for _ in range(5_000)))
    await bench.settled()
    reads = bench.live.readers[JOBS].turns
    other = asyncio.create_task(turning())
    await bench.post(JOBS, "a")
    async with asyncio.timeout(10):
        while told < 5_000:  # noqa: ASYNC110  it is only counted
            await asyncio.sleep(0)
    other.cancel()
    assert turns >= 5_000 // HANDED_OUT_AT_ONCE
    assert bench.live.readers[JOBS].turns <= reads + 2, "read for all of them at once"
    await bench.live.stop()


async def test_one_who_comes_back_with_a_marker_gets_the_rest_once(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "a", "b", "c")
    await bench.settled()
    listening.close()
    await bench.post(JOBS, "d")
    again, _ = await bench.listen(JOBS, after=ear.heard[1].marker)
    await bench.post(JOBS, "e")
    await bench.settled()
    assert again.bodies == ["c", "d", "e"]
    assert again.gaps == []


async def test_the_id_of_a_message_is_a_marker_too(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "a", "b")
    await bench.settled()
    listening.close()
    after = parse_live_marker(ear.heard[0].message.id)
    again, _ = await bench.listen(JOBS, after=after)
    await bench.settled()
    assert again.bodies == ["b"]


async def test_a_marker_from_before_the_log_is_a_declared_gap(bench: LiveBench) -> None:
    await bench.post(JOBS, "unheard")
    old = await bench.store.messages.page(JOBS, after=Position(0), limit=1, now=bench.clock.now())
    marker = Marker(Position(old.messages[0].position - 1))
    ear, _ = await bench.listen(JOBS, after=marker)
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    assert [gap.after for gap in ear.gaps] == [marker]


async def test_a_marker_from_the_future_is_a_declared_gap(bench: LiveBench) -> None:
    ear, _ = await bench.listen(JOBS, after=Marker(BEYOND_ALL))
    await bench.settled()
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    assert len(ear.gaps) == 1


async def test_who_begins_is_told_of_no_gap_in_a_queue_that_is_long_quiet(
    bench: LiveBench, clock: ManualClock
) -> None:
    await bench.post(JOBS, "long ago")
    announcements = bench.store.announcements  # type: ignore[attr-defined]
    opened = announcements.open

    async def open_(queue: QueueRef, *, now: Moment) -> OpenLog:
        """As stores may: everything posted later stands above the present moment, too."""
        found: OpenLog = await opened(queue, now=now)
        return replace(found, last=Position(floor_at(now) - 1))

    announcements.open = open_
    clock.advance(seconds=100)
    ear, _ = await bench.listen(JOBS)
    await bench.settled()
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    assert ear.gaps == []


async def test_a_held_listener_gets_everything_when_it_goes_on(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS)
    other, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "a")
    await bench.settled()
    listening.hold()
    for number in range(50):
        await bench.post(JOBS, f"m{number}")
        await bench.settled()
    assert ear.bodies == ["a"]
    assert len(other.heard) == 51
    listening.go_on()
    await bench.settled()
    assert ear.bodies == other.bodies


async def test_a_filter_lets_through_what_it_wants(bench: LiveBench) -> None:
    ear, _ = await bench.listen(JOBS)
    some, _ = await bench.listen(JOBS, wanted={"body": {"kind": ["hot"]}})
    for kind in ("hot", "cold", "hot"):
        await bench.store.messages.add(
            JOBS, [_message(f'{{"kind": "{kind}"}}')], now=bench.clock.now()
        )
    bench.live.look()
    await bench.settled()
    assert len(ear.heard) == 3
    assert [item.marker for item in some.heard] == [ear.heard[0].marker, ear.heard[2].marker]


async def test_a_filter_that_wants_nothing_moves_the_marker_on(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS, wanted={"body": {"kind": ["hot"]}})
    all_of_it, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "a", "b")
    await bench.settled()
    assert ear.bodies == []
    assert listening.marker(JOBS) == all_of_it.heard[-1].marker


async def test_several_queues_can_be_listened_to_at_once(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS, NEWS)
    await bench.post(NEWS, "n")
    await bench.settled()
    await bench.post(JOBS, "j")
    await bench.settled()
    assert [(item.queue.name, item.message.body) for item in ear.heard] == [
        ("news", b'"n"'),
        ("jobs", b'"j"'),
    ]
    assert listening.marker(NEWS) == ear.heard[0].marker


async def test_delayed_messages_are_told_when_they_are_due_in_that_order(
    bench: LiveBench, clock: ManualClock
) -> None:
    ear, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "late", delay=60)
    await bench.post(JOBS, "sooner", delay=30)
    await bench.post(JOBS, "now")
    await bench.settled()
    assert ear.bodies == ["now"]
    clock.advance(seconds=29)
    await bench.settled()
    assert ear.bodies == ["now"]
    clock.advance(seconds=40)
    await bench.settled()
    assert ear.bodies == ["now", "sooner", "late"]


async def test_a_delayed_message_is_told_once_to_who_comes_back_before_or_after_it_is_due(
    bench: LiveBench, clock: ManualClock
) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "late", delay=60)
    await bench.post(JOBS, "now")
    await bench.settled()
    listening.close()
    before, _ = await bench.listen(JOBS, after=ear.heard[-1].marker)
    clock.advance(seconds=61)
    await bench.settled()
    assert before.bodies == ["late"]
    missed, _ = await bench.listen(JOBS, after=ear.heard[-1].marker)
    await bench.settled()
    assert missed.bodies == ["late"]
    nothing, _ = await bench.listen(JOBS, after=before.heard[-1].marker)
    await bench.settled()
    assert nothing.bodies == []


async def test_a_delayed_message_reaches_who_is_held_when_it_is_due(
    bench: LiveBench, clock: ManualClock
) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "late", delay=60)
    await bench.settled()
    listening.hold()
    clock.advance(seconds=61)
    await bench.settled()
    listening.go_on()
    await bench.settled()
    assert ear.bodies == ["late"]


async def test_messages_that_are_due_at_one_moment_are_told_once_across_a_disconnect(
    bench: LiveBench, clock: ManualClock
) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "a", "b", "c", delay=60)
    clock.advance(seconds=61)
    await bench.settled()
    listening.close()
    assert ear.bodies == ["a", "b", "c"]
    again, _ = await bench.listen(JOBS, after=ear.heard[1].marker)
    await bench.settled()
    assert again.bodies == ["c"]


async def test_a_message_from_a_node_whose_clock_is_ahead_is_told_at_once(
    bench: LiveBench, clock: ManualClock
) -> None:
    ahead = ManualClock(clock.now())
    ahead.advance(milliseconds=3)
    ear, _ = await bench.listen(JOBS)
    await LiveBench(bench.store, ahead).post(JOBS, "a")
    await bench.settled()
    await bench.post(JOBS, "b")
    await bench.settled()
    assert ear.bodies == ["a", "b"]


async def test_what_has_expired_is_not_told(bench: LiveBench, clock: ManualClock) -> None:
    ear, listening = await bench.listen(JOBS)
    listening.hold()
    await bench.post(JOBS, "short", ttl=60)
    await bench.post(JOBS, "long")
    clock.advance(seconds=61)
    listening.go_on()
    await bench.settled()
    assert ear.bodies == ["long"]


@pytest.mark.parametrize("what", ["purge", "delete"])
async def test_what_was_purged_or_deleted_before_it_was_read_is_gone(
    bench: LiveBench, what: str, clock: ManualClock
) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.post(JOBS, "late", delay=60)
    await bench.settled()
    listening.hold()
    await bench.post(JOBS, "gone")
    await getattr(bench.store.queues, what)(JOBS, now=clock.now())
    listening.go_on()
    await bench.post(JOBS, "after")
    clock.advance(seconds=61)
    await bench.settled()
    assert ear.bodies == ["after"]
    assert ear.gaps == []


async def test_a_receiver_that_fails_is_closed_and_harms_nobody(
    bench: LiveBench, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Ear):
        def take(self, batch: object) -> None:
            raise RuntimeError("full")

    failing, _ = await bench.listen(JOBS, ear=Failing())
    ear, _ = await bench.listen(JOBS)
    await bench.post(JOBS, "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    assert failing.ended is Ending.FAILED
    assert bench.live.listeners == 1
    assert "a live listener failed unexpectedly" in caplog.text


async def test_a_stop_ends_every_listening(bench: LiveBench) -> None:
    ear, listening = await bench.listen(JOBS)
    await bench.live.stop()
    assert ear.ended is Ending.STOPPING
    assert listening.closed
    assert bench.live.listeners == bench.live.followed == 0
    with pytest.raises(Unavailable):
        await bench.live.listen("acme", (JOBS,), ear)


async def test_limits_are_held(clock: ManualClock) -> None:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    bounds = LiveBounds(max_listeners=3, max_listeners_per_project=2, max_followed_queues=2)
    bench = LiveBench(store, clock, bounds)
    _, first = await bench.listen(JOBS)
    await bench.listen(NEWS)
    with pytest.raises(Unavailable, match="of this project"):
        await bench.listen(JOBS)
    with pytest.raises(Unavailable, match="queues"):
        await bench.listen(QueueRef("other", "jobs"))
    first.close()
    await bench.listen(JOBS)
    with pytest.raises(InvalidInput, match="number of queues"):
        await bench.live.listen("acme", [QueueRef("acme", f"q{n}") for n in range(101)], Ear())
    await bench.live.stop()


def small(clock: ManualClock, followed: int) -> LiveBench:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    return LiveBench(store, clock, LiveBounds(max_followed_queues=followed))


def many(project: str, count: int) -> list[QueueRef]:
    return [QueueRef(project, f"q{number}") for number in range(count)]


async def test_one_project_leaves_others_queues_to_listen_to(clock: ManualClock) -> None:
    bench = small(clock, 5)
    await bench.listen(*many("acme", 4))
    with pytest.raises(Unavailable, match="of this project"):
        await bench.listen(JOBS)
    await bench.listen(many("acme", 1)[0])
    ear, _ = await bench.listen(QueueRef("other", "jobs"))
    await bench.post(QueueRef("other", "jobs"), "a")
    await bench.settled()
    assert ear.bodies == ["a"]
    await bench.live.stop()


async def test_queues_that_nobody_listens_to_any_more_make_way_for_others(
    clock: ManualClock,
) -> None:
    bench = small(clock, 5)
    kept, _ = await bench.listen(NEWS)
    _, gone = await bench.listen(*many("acme", 3))
    gone.close()
    for number in range(20):
        ear, listening = await bench.listen(*many(f"p{number}", 4))
        await bench.post(QueueRef(f"p{number}", "q3"), "a")
        await bench.settled()
        assert ear.bodies == ["a"]
        assert bench.live.followed == 5
        with pytest.raises(Unavailable, match="Too many queues"):
            await bench.listen(QueueRef("other", "jobs"))
        listening.close()
    await bench.post(NEWS, "still")
    await bench.settled()
    assert kept.bodies == ["still"]
    async with asyncio.timeout(10):
        while len(bench.live._tasks) > 5:  # noqa: ASYNC110  those that made way end soon
            await asyncio.sleep(0)
    await bench.live.stop()
    assert not bench.live._tasks
    assert not bench.live._followed


async def test_of_a_project_its_own_queues_make_way_first(clock: ManualClock) -> None:
    bench = small(clock, 5)
    for queue in (QueueRef("other", "jobs"), *many("acme", 4)):
        _, gone = await bench.listen(queue)
        gone.close()
    await bench.listen(NEWS)
    assert QueueRef("other", "jobs") in bench.live.readers
    assert bench.live.followed == 5
    await bench.live.stop()


async def test_a_store_without_logs_is_refused(clock: ManualClock) -> None:
    class Plain:
        def __init__(self) -> None:
            store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
            for name in ("capabilities", "queues", "messages", "claims", "ping"):
                setattr(self, name, getattr(store, name))

    bench = LiveBench(Plain(), clock)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="cannot tell"):
        await bench.listen(JOBS)


def _message(body: str) -> NewMessage:
    return NewMessage(body=body.encode(), ttl=seconds(3600))
