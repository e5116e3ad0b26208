"""The sweeper: goes on while there is work, rests in proportion, survives a store that fails."""

import asyncio
from collections.abc import Callable, Iterable

import pytest

from nuska.core.wakeups import LocalWakeups
from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.storage import SweepReport
from nuska.testing.clock import ManualClock
from nuska.upkeep import sweeper as upkeep
from nuska.upkeep.sweeper import Sweeper

JOBS = QueueRef("p", "jobs")
Step = SweepReport | Exception


class ScriptedStore:
    """Answers ``sweep`` from a script and, when it has ended, with nothing to do."""

    def __init__(self, script: Iterable[Step], seconds_per_step: float = 0.0) -> None:
        self._script = list(script)
        self._seconds = seconds_per_step
        self.moments: list[Moment] = []
        self.ended = asyncio.Event()

    async def sweep(self, *, now: Moment) -> SweepReport:
        self.moments.append(now)
        await asyncio.sleep(self._seconds)
        if not self._script:
            self.ended.set()
            return SweepReport()
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


@pytest.fixture
async def sweep() -> Callable[..., Sweeper]:
    """Runs a sweeper over a store until the store's script has ended."""

    async def run(store: ScriptedStore, wakeups: LocalWakeups | None = None) -> Sweeper:
        sweeper = Sweeper(store, wakeups or LocalWakeups(), ManualClock())
        running = asyncio.create_task(sweeper.run())
        await asyncio.wait_for(store.ended.wait(), 20)
        sweeper.stop()
        await asyncio.wait_for(running, 20)
        return sweeper

    return run


async def test_it_goes_on_at_once_while_there_is_more(sweep: Callable) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    sweeper = await sweep(ScriptedStore([SweepReport(removed=3, more=True)] * 40))
    assert loop.time() - began < 40 * upkeep.IDLE_PAUSE
    assert sweeper.removed == 120
    assert sweeper.steps >= 40


async def test_it_rests_in_proportion_to_its_work(sweep: Callable) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await sweep(ScriptedStore([SweepReport(more=True)] * 5, seconds_per_step=0.02))
    working, resting = 5 * 0.02, 5 * 0.02 * upkeep.REST_PER_WORK
    assert loop.time() - began >= working + resting
    assert working / (working + resting) <= 0.3


async def test_it_looks_often_enough_for_what_is_over_to_be_free_within_a_second() -> None:
    assert upkeep.IDLE_PAUSE <= 0.25


async def test_it_sweeps_at_the_moment_its_clock_says(sweep: Callable) -> None:
    store = ScriptedStore([])
    await sweep(store)
    assert set(store.moments) == {ManualClock().now()}


async def test_it_wakes_those_who_wait_for_what_became_due(sweep: Callable) -> None:
    wakeups = LocalWakeups()
    with wakeups.waiting(JOBS, taker=True) as waiter:
        waiting = asyncio.create_task(waiter.wait(20))
        await asyncio.sleep(0)
        await sweep(ScriptedStore([SweepReport(due=[JOBS], more=True)]), wakeups)
        assert await waiting


async def test_a_store_that_cannot_answer_is_tried_again(
    sweep: Callable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(upkeep, "FIRST_RETRY", 0.01)
    script: list[Step] = [Unavailable("The disk is full."), RuntimeError("a bug"), SweepReport()]
    sweeper = await sweep(ScriptedStore(script))
    assert sweeper.failures == 2
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]
    assert caplog.records[0].reason == "The disk is full."


async def test_it_stops_after_the_step_it_is_at() -> None:
    store = ScriptedStore([SweepReport(more=True)] * 1000, seconds_per_step=0.01)
    sweeper = Sweeper(store, LocalWakeups(), ManualClock())
    running = asyncio.create_task(sweeper.run())
    while not store.moments:  # noqa: ASYNC110  a script tells nobody that it has begun
        await asyncio.sleep(0)
    sweeper.stop()
    await asyncio.wait_for(running, 20)
    assert sweeper.steps == len(store.moments) == 1
