"""A crash at every step of every operation leaves all of it or nothing (I11, I12).

Each operation is done once on a recording VFS. The files are then made as they were before
every single write, sync and truncation of it: as SIGKILL leaves them, and as a power loss
does. In a second round each of these calls fails, one by one, in a living store.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from nuska.domain.claims import DeadLetterRule
from nuska.domain.errors import Unavailable
from nuska.domain.messages import Idempotency, Message, NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.announcing import OpenLog
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import connection, messages
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import START, ManualClock
from nuska.testing.commit_order import CommitOrder, Tape
from nuska.testing.power_loss import Disk, lay_out
from nuska.testing.questions import Call
from nuska.testing.rebuilt_stores import Judge
from nuska.testing.recording_vfs import Call as VfsCall
from nuska.testing.recording_vfs import Fault, RecordingVfs

JOBS = QueueRef("acme", "jobs")
MAIL = QueueRef("acme", "mail")
WORN = QueueRef("acme", "worn")
"""Its messages have been claimed as often as they may."""
DEAD = QueueRef("acme", "dead")
NEW = QueueRef("acme", "new")
RULE = DeadLetterRule(max_claims=1, queue=DEAD, ttl=seconds(900))
MINUTE = seconds(60)
HELD = "11" * 12
FRESH = "22" * 12


class Scene:
    """A store with something of everything in it, every call of it watched."""

    def __init__(self, store: SqliteStore, tape: Tape, vfs: RecordingVfs, scratch: Path) -> None:
        self.store = store
        self.vfs = vfs
        self.clock = ManualClock()
        self.order = CommitOrder(store, tape, vfs.now)
        self.held: list[Message] = []
        self.ready: list[str] = []
        self.popped: list[Message] = []
        self.log: OpenLog | None = None
        """Of ``JOBS``; that of ``NEW`` is open as well."""
        self._scratch = scratch

    async def do(self, method: str, *arguments: Any, **options: Any) -> Any:
        call = Call(method=method, arguments=arguments, options=options)
        return await self.order.perform(call, self.clock.now())

    async def prepare(self) -> None:
        await self.do("queues.create", MAIL, {"team": "post"})
        self.log = await self.do("announcements.open", JOBS)
        await self.do("announcements.open", NEW)
        await self.do("messages.add", JOBS, letters(9))
        await self.do("messages.add", MAIL, letters(4, delay=5))
        await self.do("messages.add", WORN, letters(3))
        terms = {"limit": 3, "ttl": MINUTE, "grace": MINUTE}
        self.held = (await self.do("claims.create", JOBS, claim_id=HELD, **terms)).messages
        await self.do("claims.create", WORN, claim_id=HELD, **terms)
        await self.do("claims.release", WORN, HELD)
        self.popped = await self.do("messages.pop", JOBS, limit=2)
        self.ready = (await self.do("messages.add", JOBS, letters(2))).ids

    async def judge(self) -> Judge:
        """To be called when all has been done."""
        log = self.vfs.log[:]
        await self.order.replay(START)
        return Judge(self.order, log, START, self._scratch)


def letters(count: int, *, delay: int = 0) -> list[NewMessage]:
    """Every other one is longer than a page of the file."""
    return [
        NewMessage(
            body=b'"%d %s"' % (number, b"x" * (6_000 * (number % 2))),
            ttl=seconds(600),
            delay=seconds(delay),
        )
        for number in range(count)
    ]


Deed = Callable[[Scene], Awaitable[Any]]

TERMS = {"claim_id": FRESH, "limit": 4, "ttl": MINUTE, "grace": seconds(3600)}


async def sweep_all(scene: Scene) -> None:
    """The end of claims, delays and messages, and of a purged generation."""
    scene.clock.advance(seconds=601)
    while (await scene.store.sweep(now=scene.clock.now())).more:
        pass


async def change_metadata(scene: Scene) -> None:
    mail = await scene.store.queues.get(MAIL)
    await scene.do("queues.replace_metadata", mail, {"team": "mail"}, relaxed=True)


async def close_log(scene: Scene) -> None:
    assert scene.log is not None
    await scene.do("announcements.close", JOBS, version=scene.log.version)


DEEDS: dict[str, Deed] = {
    "post one": lambda scene: scene.do("messages.add", JOBS, letters(1)),
    "post a batch": lambda scene: scene.do("messages.add", JOBS, letters(12)),
    "post with a key": lambda scene: scene.do(
        "messages.add", JOBS, letters(6), idempotency=Idempotency("key", b"print")
    ),
    "post to a new queue": lambda scene: scene.do("messages.add", NEW, letters(2)),
    "claim": lambda scene: scene.do("claims.create", JOBS, **TERMS),
    "dead-letter": lambda scene: scene.do("claims.create", WORN, dead_letters=RULE, **TERMS),
    "renew": lambda scene: scene.do(
        "claims.renew", JOBS, HELD, ttl=seconds(300), grace=seconds(600)
    ),
    "release": lambda scene: scene.do("claims.release", JOBS, HELD),
    "delete one": lambda scene: scene.do("messages.delete", JOBS, scene.held[0].id, claim_id=HELD),
    "delete many": lambda scene: scene.do(
        "messages.delete_many", JOBS, [*(one.id for one in scene.held), *scene.ready]
    ),
    "pop": lambda scene: scene.do("messages.pop", JOBS, limit=4),
    "put back": lambda scene: scene.do("messages.put_back", JOBS, scene.popped),
    "create a queue": lambda scene: scene.do("queues.create", NEW, {"a": 1}),
    "change metadata": change_metadata,
    "purge": lambda scene: scene.do("queues.purge", JOBS),
    "delete a queue": lambda scene: scene.do("queues.delete", JOBS),
    "open a log": lambda scene: scene.do("announcements.open", MAIL),
    "trim a log": lambda scene: scene.do(
        "announcements.trim", JOBS, through=scene.held[-1].position
    ),
    "close a log": close_log,
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices and spilt caches within a short operation."""
    monkeypatch.setattr(messages, "SLICE", 4)
    monkeypatch.setattr(connection, "WRITER_CACHE_KIB", 40)


@pytest.fixture
def vfs() -> RecordingVfs:
    return RecordingVfs(f"crash-{uuid4().hex}")


async def open_scene(vfs: RecordingVfs, path: Path) -> Scene:
    tape = Tape()
    options = StoreOptions(url="sqlite:", data_dir=str(path), now=START, random_bytes=tape)
    scene = Scene(await open_sqlite(options, vfs=vfs.name), tape, vfs, path)
    await scene.prepare()
    return scene


async def judge_every_place(judge: Judge, scene: Scene, first: int) -> None:
    """Before each event since ``first`` and after the last."""
    disk = Disk()
    disk.move(scene.vfs.log[:first])
    version = -1
    for place in range(first, len(scene.vfs.log) + 1):
        await judge.judge(disk.killed(), scene.order.acknowledged(place))
        if disk.version != version:
            version = disk.version
            await judge.judge(disk.synced_only(), scene.order.acknowledged(place))
        disk.move(scene.vfs.log[place : place + 1])


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
async def test_a_crash_at_any_step_leaves_all_or_nothing(
    vfs: RecordingVfs, tmp_path: Path, deed: Deed
) -> None:
    scene = await open_scene(vfs, tmp_path)
    before, first = len(scene.order.lines), vfs.now()
    await deed(scene)
    log_end = vfs.now()
    judge = await scene.judge()
    await scene.store.close()
    del vfs.log[log_end:]
    vfs.close()
    await judge_every_place(judge, scene, first)
    assert judge.verdict.states == {before, before + 1}


@pytest.mark.slow
async def test_a_crash_at_any_step_of_the_sweep_changes_nothing(
    vfs: RecordingVfs, tmp_path: Path
) -> None:
    scene = await open_scene(vfs, tmp_path)
    await scene.do("messages.add", JOBS, [NewMessage(body=b"1", ttl=seconds(9000))])
    await scene.do("queues.purge", MAIL)
    first = vfs.now()
    await sweep_all(scene)
    log_end = vfs.now()
    judge = await scene.judge()
    await scene.store.close()
    del vfs.log[log_end:]
    vfs.close()
    await judge_every_place(judge, scene, first)
    assert judge.verdict.states == {len(scene.order.lines)}


@pytest.mark.slow
@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
@pytest.mark.parametrize("call", ["write", "sync"])
async def test_a_failure_at_any_step_undoes_it_and_the_same_again_succeeds(
    tmp_path: Path, deed: Deed, call: VfsCall
) -> None:
    refused = 0
    for nth in [*range(1, 9), *range(9, 1000, 7)]:
        vfs = RecordingVfs(f"crash-{uuid4().hex}")
        scene = await open_scene(vfs, tmp_path / str(nth))
        before = len(scene.order.lines)
        vfs.faults.append(Fault(call=call, suffix="-wal", nth=nth))
        with suppress(Unavailable):
            await deed(scene)
        struck, failed_at = bool(vfs.struck), vfs.now()
        vfs.heal()
        if struck:
            refused += 1
            await deed(scene)
        judge = await scene.judge()
        held = await scene.order.check(scene.store, at_least=before + 1)
        assert held == before + 1 == len(scene.order.lines)
        await scene.store.close()
        vfs.close()
        if not struck:
            break
        disk = Disk()
        disk.move(vfs.log[:failed_at])
        await judge.judge(disk.killed(), before)
        await judge.judge(disk.synced_only(), before)
    assert refused >= 1


@pytest.mark.parametrize("call", ["open", "write", "sync", "truncate", "delete"])
@pytest.mark.parametrize("log_is_left", [False, True], ids=["first start", "after a crash"])
async def test_a_start_that_fails_at_any_step_says_so_and_can_be_repeated(
    tmp_path: Path, call: VfsCall, log_is_left: bool
) -> None:
    left: dict[str, bytes] = {}
    if log_is_left:
        vfs = RecordingVfs(f"crash-{uuid4().hex}")
        scene = await open_scene(vfs, tmp_path / "before")
        disk = Disk()
        disk.move(vfs.log)
        left = disk.killed()
        await scene.store.close()
        vfs.close()
    for nth in range(1, 1000):
        vfs = RecordingVfs(f"crash-{uuid4().hex}")
        data = tmp_path / str(nth)
        lay_out(left, data)
        options = StoreOptions(url="sqlite:", data_dir=str(data), now=START, random_bytes=Tape())
        vfs.faults.append(Fault(call=call, nth=nth, error=ENOSPC if nth % 2 else EIO))
        with suppress(Unavailable):
            await (await open_sqlite(options, vfs=vfs.name)).close()
        struck = bool(vfs.struck)
        vfs.heal()
        reopened = await open_sqlite(options, vfs=vfs.name)
        try:
            stats = await reopened.queues.stats(JOBS, now=START)
            assert stats.ready + stats.claimed == (9 if log_is_left else 0)
            await reopened.messages.add(NEW, letters(1), now=START)
        finally:
            await reopened.close()
            vfs.close()
        if not struck:
            break
