"""A disk that is full or fails: no acknowledged write is lost, failing ones say so, reads go
on, and when the disk works again so does the store, in the same process (I24)."""

import asyncio
import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import checkpoint, connection, line
from nuska.stores.sqlite import store as store_module
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import START, ManualClock
from nuska.testing.commit_order import CommitOrder, Tape
from nuska.testing.mixed_load import MixedLoad
from nuska.testing.rebuilt_stores import Judge
from nuska.testing.recording_vfs import ALWAYS, Call, Fault, RecordingVfs

INBOX = QueueRef("acme", "inbox")
LETTER = NewMessage(body=b'"letter"', ttl=seconds(300))


@pytest.fixture
def vfs() -> RecordingVfs:
    return RecordingVfs(f"faulty-{uuid4().hex}")


class Run:
    """Mixed load before, during and after a fault, in one process."""

    def __init__(self, judge: Judge, broke_at: int, refused: int, refused_later: int) -> None:
        self.judge = judge
        self.broke_at = broke_at
        """The place in the log when the disk began to fail."""
        self.refused = refused
        """Calls answered ``Unavailable`` while the disk failed."""
        self.refused_later = refused_later


Break = Callable[[Fault], Awaitable[Run]]


@pytest.fixture
async def break_disk(
    vfs: RecordingVfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Break]:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_PAGES", 20)
    monkeypatch.setattr(checkpoint, "RESET_PAGES", 60)
    monkeypatch.setattr(line, "MAX_WRITES_PER_COMMIT", 6)
    monkeypatch.setattr(connection, "WRITER_CACHE_KIB", 40)
    monkeypatch.setattr(store_module, "IDLE_LOG_KEPT", 50_000)

    async def run(fault: Fault) -> Run:
        clock, tape = ManualClock(), Tape(1)
        options = StoreOptions(
            url="sqlite:", data_dir=str(tmp_path / "data"), now=START, random_bytes=tape
        )
        store = await open_sqlite(options, vfs=vfs.name)
        try:
            order = CommitOrder(store, tape, vfs.now)
            load = MixedLoad(store, order.perform, clock, seed=1, relaxed=True)
            await load.prepare()
            await load.run(callers=4, deeds=12)
            broke_at = vfs.now()
            vfs.faults.append(fault)
            await load.run(callers=8, deeds=8)
            vfs.heal()
            refused = load.unavailable
            await load.run(callers=4, deeds=8)
            log = vfs.log[:]
            await order.replay(START)
            held = await order.check(store, at_least=len(order.lines))
            assert held == len(order.lines), "in the process, what was refused did not happen"
        finally:
            await store.close()
        judge = Judge(order, log, START, tmp_path)
        return Run(judge, broke_at, refused, load.unavailable - refused)

    yield run
    vfs.close()


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, ALWAYS], ids=["once", "until healed"])
@pytest.mark.parametrize(
    ("call", "suffix", "error"),
    [
        ("write", "-wal", errno.EIO),
        ("write", "-wal", errno.ENOSPC),
        ("sync", "-wal", errno.EIO),
        ("write", "", errno.EIO),
        ("write", "", errno.ENOSPC),
        ("sync", "", errno.EIO),
        ("truncate", "", errno.EIO),
    ],
    ids=[
        "the log cannot be written",
        "no room for the log",
        "the log cannot be synced",
        "the database cannot be written",
        "no room for the database",
        "the database cannot be synced",
        "the database cannot be cut",
    ],
)
async def test_nothing_acknowledged_is_lost_and_the_store_works_when_the_disk_does(
    vfs: RecordingVfs, break_disk: Break, call: Call, suffix: str, error: int, times: int
) -> None:
    run = await break_disk(Fault(call=call, suffix=suffix, error=error, times=times))
    assert vfs.struck
    if suffix != "-wal":
        assert not run.refused, "a failed checkpoint refuses nobody"
    elif call == "write" or times == ALWAYS:
        assert run.refused
    # One failed sync may be that of relaxed writes alone, which nobody waits for.
    assert run.refused_later == 0
    await run.judge.every_sync(run.broke_at)
    await run.judge.killed(run.broke_at, Random(1), cuts=15)
    await run.judge.torn(run.broke_at, Random(1), cuts=15)


@pytest.fixture
async def faulty(vfs: RecordingVfs, options: StoreOptions) -> AsyncIterator[SqliteStore]:
    store = await open_sqlite(options, vfs=vfs.name)
    yield store
    vfs.heal()
    await store.close()
    vfs.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(call="write", error=errno.ENOSPC, times=ALWAYS), "full"),
        (Fault(call="sync", times=ALWAYS), "failed to read or write"),
    ],
    ids=["full", "broken"],
)
async def test_while_the_disk_fails_writes_say_so_and_reads_go_on(
    vfs: RecordingVfs, faulty: SqliteStore, clock: ManualClock, fault: Fault, said: str
) -> None:
    added = await faulty.messages.add(INBOX, [LETTER], now=clock.now())
    vfs.faults.append(fault)
    for _ in range(3):
        with pytest.raises(Unavailable, match=said) as refused:
            await faulty.messages.add(INBOX, [LETTER], now=clock.now())
        assert refused.value.retry_after >= 1
        await faulty.ping()
        page = await faulty.messages.page(INBOX, after=BEFORE_ALL, limit=10, now=clock.now())
        assert [message.id for message in page.messages] == added.ids
        assert (await faulty.queues.stats(INBOX, now=clock.now())).ready == 1
    vfs.heal()
    again = await faulty.messages.add(INBOX, [LETTER], now=clock.now())
    page = await faulty.messages.page(INBOX, after=BEFORE_ALL, limit=10, now=clock.now())
    assert [message.id for message in page.messages] == [*added.ids, *again.ids]


async def test_a_long_read_under_way_is_waited_for_before_the_store_recovers(
    vfs: RecordingVfs, faulty: SqliteStore, clock: ManualClock
) -> None:
    await faulty.messages.add(INBOX, [LETTER] * 600, now=clock.now())  # counted in a thread
    vfs.faults.append(Fault(call="sync", suffix="-wal"))
    with pytest.raises(Unavailable):
        await faulty.messages.add(INBOX, [LETTER], now=clock.now())
    counted = [faulty.queues.stats(INBOX, now=clock.now()) for _ in range(20)]
    added, *stats = await asyncio.gather(
        faulty.messages.add(INBOX, [LETTER], now=clock.now()), *counted
    )
    assert len(added.ids) == 1
    assert {one.ready for one in stats} <= {600, 601}


async def test_a_store_closed_while_in_doubt_keeps_its_log_for_the_next_start(
    vfs: RecordingVfs, options: StoreOptions, clock: ManualClock
) -> None:
    store = await open_sqlite(options, vfs=vfs.name)
    added = await store.messages.add(INBOX, [LETTER], now=clock.now())
    vfs.faults.append(Fault(call="sync", times=ALWAYS))
    with pytest.raises(Unavailable):
        await store.messages.add(INBOX, [LETTER], now=clock.now())
    before = vfs.now()
    await store.close()
    assert all(event.kind != "write" for event in vfs.log[before:])
    vfs.heal()
    reopened = await open_sqlite(options, vfs=vfs.name)
    found = await reopened.messages.get(INBOX, added.ids, now=clock.now())
    assert [message.id for message in found] == added.ids
    await reopened.close()
    vfs.close()
