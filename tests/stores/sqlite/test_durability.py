"""Power losses: the store rebuilt from synced bytes holds every acknowledged operation.

SIGKILL cannot show this, since the page cache survives it. Here the files are what a
recording VFS saw being synced (I1, I11, I12, I23).
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from threading import Event as Signal
from typing import Any
from uuid import uuid4

import pytest

from nuska.interfaces.storage import StoreOptions
from nuska.stores.memory import announcements as model
from nuska.stores.sqlite import (
    announcements,
    checkpoint,
    connection,
    line,
    messages,
    store,
    sweeping,
    writer,
)
from nuska.stores.sqlite.store import open_sqlite
from nuska.stores.sqlite.transaction import Transaction
from nuska.stores.sqlite.writer import Writer
from nuska.testing.clock import START, ManualClock
from nuska.testing.commit_order import CommitOrder, Tape, Unfaithful
from nuska.testing.mixed_load import MixedLoad
from nuska.testing.rebuilt_stores import Judge
from nuska.testing.recording_vfs import RecordingVfs

CALLERS = 12
DEEDS = 30
PLENTY = 10_000


@pytest.fixture(autouse=True)
def _everything_happens_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints, a log that starts over, spilt caches and slices within a short run."""
    monkeypatch.setattr(checkpoint, "CHECKPOINT_PAGES", 30)
    monkeypatch.setattr(checkpoint, "RESET_PAGES", 90)
    monkeypatch.setattr(line, "MAX_WRITES_PER_COMMIT", 6)
    monkeypatch.setattr(messages, "SLICE", 4)
    # What one step of trimming leaves is not the model's: here it leaves nothing.
    monkeypatch.setattr(announcements, "TRIMMED_PER_STEP", PLENTY)
    monkeypatch.setattr(model, "TRIMMED_AT_ONCE", PLENTY)
    monkeypatch.setattr(sweeping, "ROWS_PER_STEP", 5)
    monkeypatch.setattr(sweeping, "CLEARED_PER_STEP", 5)
    monkeypatch.setattr(sweeping, "FREE_PAGES_KEPT", 4)
    monkeypatch.setattr(connection, "WRITER_CACHE_KIB", 40)
    monkeypatch.setattr(connection, "WAL_SIZE_LIMIT", 200_000)
    monkeypatch.setattr(store, "IDLE_LOG_KEPT", 50_000)


class Run:
    """A recorded run of mixed load, ready to be judged."""

    def __init__(self, judge: Judge, load: MixedLoad, opened_at: int) -> None:
        self.judge = judge
        self.load = load
        self.opened_at = opened_at
        """Before this place in the log there was no store yet."""


Record = Callable[..., Awaitable[Run]]


@pytest.fixture
async def record(tmp_path: Path) -> AsyncIterator[Record]:
    """Run mixed load on a watched store, to its close."""
    vfs = RecordingVfs(f"recording-{uuid4().hex}")

    async def run(seed: int, *, synchronous: str = "FULL", relaxed: bool = False) -> Run:
        clock = ManualClock()
        tape = Tape(seed)
        options = StoreOptions(
            url="sqlite:", data_dir=str(tmp_path / "data"), now=START, random_bytes=tape
        )
        opened = await open_sqlite(options, vfs=vfs.name, synchronous=synchronous)
        opened_at = vfs.now()
        order = CommitOrder(opened, tape, vfs.now)
        load = MixedLoad(opened, order.perform, clock, seed, relaxed=relaxed)
        await load.prepare()
        await load.run(CALLERS, DEEDS)
        await opened.close()
        await order.replay(START)
        return Run(Judge(order, vfs.log, START, tmp_path), load, opened_at)

    yield run
    vfs.close()


@pytest.mark.slow
@pytest.mark.parametrize("relaxed", [False, True], ids=["durable", "with a relaxed queue"])
async def test_synced_bytes_alone_hold_every_acknowledged_operation_at_every_cut(
    record: Record, relaxed: bool
) -> None:
    run = await record(seed=1, relaxed=relaxed)
    verdict = await run.judge.every_sync(first=0)  # the first start too
    assert run.load.unavailable == 0
    assert verdict.cuts > 80
    assert len(verdict.states) > 30


@pytest.mark.slow
async def test_what_survives_unsynced_beside_it_does_no_harm(record: Record) -> None:
    run = await record(seed=2, relaxed=True)
    verdict = await run.judge.torn(0, Random(2), cuts=120)
    assert len(verdict.states) > 30


@pytest.mark.slow
async def test_a_killed_process_leaves_every_acknowledged_operation_even_relaxed_ones(
    record: Record,
) -> None:
    run = await record(seed=3, relaxed=True)
    verdict = await run.judge.killed(0, Random(3), cuts=80)
    assert len(verdict.states) > 30


@pytest.mark.parametrize(
    ("synchronous", "failing"), [("OFF", "malformed|lost:"), ("NORMAL", "acknowledged; lost:")]
)
async def test_the_check_fails_for_a_store_that_does_not_sync_its_commits(
    record: Record, synchronous: str, failing: str
) -> None:
    run = await record(seed=1, synchronous=synchronous)
    with pytest.raises(Unfaithful, match=failing):
        await run.judge.every_sync(run.opened_at)


async def test_the_names_of_new_directories_are_synced_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
    )
    options = StoreOptions(
        url="sqlite:", data_dir=str(tmp_path / "new" / "data"), now=START, random_bytes=Tape()
    )
    await (await open_sqlite(options)).close()
    assert sorted(synced) == [str(tmp_path), str(tmp_path / "new")]


class EarlyWriter(Writer):
    """Answers before the commit."""

    def _commit(self, group: list[Any], transaction: Transaction) -> None:
        answered = Signal()

        def answer() -> None:
            for write in group:
                writer._answer(write)
            self._loop.call_soon(self._loop.call_soon, answered.set)  # callers have had a turn

        self._loop.call_soon_threadsafe(answer)
        answered.wait()
        super()._commit(group, transaction)


async def test_the_check_fails_for_a_store_that_answers_before_its_commit(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "Writer", EarlyWriter)
    run = await record(seed=1)
    with pytest.raises(Unfaithful, match="acknowledged; lost:"):
        await run.judge.every_sync(run.opened_at)
