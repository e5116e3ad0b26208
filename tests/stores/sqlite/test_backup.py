"""A copy of a store in use, and the way back: what is in it, what it refuses, what it leaves."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import apsw
import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.messages import Message, NewMessage, QueueRef
from nuska.domain.moments import Moment, seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import checkpoint, outsiders
from nuska.stores.sqlite import store as store_module
from nuska.stores.sqlite.backup import back_up
from nuska.stores.sqlite.restoring import restore
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import START, ManualClock
from nuska.testing.recording_vfs import Fault, RecordingVfs

INBOX = QueueRef("acme", "inbox")
LETTERS = [NewMessage(body=b'"%d"' % number, ttl=seconds(3600)) for number in range(50)]


def unseen(_done: int, _size: int) -> None:
    pass


def backed_up(directory: Path, target: Path, *, replace: bool = False) -> Path:
    back_up("sqlite:", str(directory), target, replace=replace, check=True, seen=unseen)
    return target


def restored(backup: Path, directory: Path, *, replace: bool = False) -> Path | None:
    return restore("sqlite:", str(directory), backup, replace=replace, seen=unseen)


async def everything(store: SqliteStore, now: Moment) -> list[Message]:
    page = await store.messages.page(
        INBOX, after=BEFORE_ALL, limit=10_000, include_claimed=True, include_delayed=True, now=now
    )
    return page.messages


async def announced(store: SqliteStore, now: Moment) -> list[Message]:
    return await store.announcements.page(INBOX, after=BEFORE_ALL, limit=10_000, now=now)


def in_directory(directory: Path) -> StoreOptions:
    return StoreOptions(url="sqlite:", data_dir=str(directory), now=START, random_bytes=os.urandom)


async def test_a_restored_store_is_the_one_that_was_backed_up(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    await sqlite.queues.create(INBOX, {"colour": "red"}, now=clock.now())
    added = await sqlite.messages.add(INBOX, LETTERS, now=clock.now())
    claimed = await sqlite.claims.create(
        INBOX, claim_id="c" * 24, limit=3, ttl=seconds(300), grace=seconds(60), now=clock.now()
    )
    later = NewMessage(body=b"1", ttl=seconds(3600), delay=seconds(600))
    await sqlite.messages.add(INBOX, [later], now=clock.now())
    opened = await sqlite.announcements.open(INBOX, now=clock.now())
    await sqlite.messages.add(INBOX, LETTERS[:3], now=clock.now())
    before, log = await everything(sqlite, clock.now()), await announced(sqlite, clock.now())
    backup = backed_up(tmp_path, tmp_path / "backup")
    await sqlite.messages.add(INBOX, LETTERS, now=clock.now())  # not in it

    assert restored(backup, tmp_path / "other") is None
    other = await open_sqlite(in_directory(tmp_path / "other"))
    assert await everything(other, clock.now()) == before
    assert await announced(other, clock.now()) == log == before[-3:]
    state = await other.announcements.state(INBOX, now=clock.now())
    assert state is not None
    assert state.version == opened.version
    claim = await other.claims.get(INBOX, "c" * 24, now=clock.now())
    assert claim is not None
    assert [one.id for one in claim.messages] == [one.id for one in claimed.messages]
    assert await other.messages.position_of(INBOX, added.ids[7]) == before[7].position
    queue = await other.queues.get(INBOX)
    assert queue is not None
    assert queue.metadata == {"colour": "red"}
    assert (await other.queues.stats(INBOX, now=clock.now())).ready == 50
    await other.close()


def test_a_copy_is_one_file_that_nobody_else_can_read(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "copies").mkdir()
    backup = backed_up(tmp_path, tmp_path / "copies" / "backup")
    assert [path.name for path in backup.parent.iterdir()] == ["backup"]
    assert backup.stat().st_mode & 0o777 == 0o600


async def test_the_log_starts_over_once_a_backup_is_done(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(checkpoint, "RESET_PAGES", 200)
    log = tmp_path / "nuska.db-wal"
    with held_open(tmp_path / "nuska.db"):
        for _ in range(60):
            await sqlite.messages.add(INBOX, LETTERS * 10, now=clock.now())
        during = log.stat().st_size
    for _ in range(60):
        await sqlite.messages.add(INBOX, LETTERS * 10, now=clock.now())
    assert during > 1000 * 4096, "it could not start over, and nobody was kept waiting for it"
    assert log.stat().st_size <= during + 500 * 4096


@contextmanager
def held_open(database: Path) -> Iterator[None]:
    """Another process reads the database, as a backup does, until the block ends."""
    program = (
        "import apsw, sys; c = apsw.Connection(sys.argv[1]); c.execute('BEGIN');"
        "c.execute('SELECT * FROM sqlite_schema').fetchall(); print(flush=True); sys.stdin.read();"
        "c.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.communicate(timeout=30)


async def test_after_the_disk_failed_nothing_is_written_while_another_has_the_database_open(
    options: StoreOptions, clock: ManualClock, tmp_path: Path
) -> None:
    vfs = RecordingVfs(f"faulty-{uuid4().hex}")
    store = await open_sqlite(options, vfs=vfs.name)
    try:
        await store.messages.add(INBOX, LETTERS, now=clock.now())
        with held_open(tmp_path / "nuska.db"):
            vfs.faults.append(Fault(call="sync", suffix="-wal", error=errno.EIO))
            with pytest.raises(Unavailable, match="failed to read or write"):
                await store.messages.add(INBOX, LETTERS, now=clock.now())
            for _ in range(2):
                with pytest.raises(Unavailable, match="Another process has"):
                    await store.messages.add(INBOX, LETTERS, now=clock.now())
                assert len(await everything(store, clock.now())) == len(LETTERS)
        await store.messages.add(INBOX, LETTERS, now=clock.now())
        assert len(await everything(store, clock.now())) == 2 * len(LETTERS)
    finally:
        await store.close()
        vfs.close()


async def test_a_start_waits_until_others_have_let_go_and_not_for_ever(
    options: StoreOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "LOOKS_AT_START", 2)
    await (await open_sqlite(options)).close()
    with held_open(tmp_path / "nuska.db"), pytest.raises(Unavailable, match="Another process has"):
        await open_sqlite(options)
    await (await open_sqlite(options)).close()


async def test_a_backup_lets_go_when_the_owner_asks_and_leaves_nothing(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    await sqlite.messages.add(INBOX, LETTERS, now=clock.now())
    (tmp_path / "copies").mkdir()
    lock = tmp_path / ("nuska.db" + outsiders.LOCK_SUFFIX)

    def asked(_done: int, _size: int) -> None:
        with lock.open("rb") as opened:
            outsiders.ask_to_let_go(opened.fileno())

    with pytest.raises(Unavailable, match="Begin the backup again"):
        back_up(
            "sqlite:",
            str(tmp_path),
            tmp_path / "copies" / "backup",
            replace=False,
            check=True,
            seen=asked,
        )
    assert list((tmp_path / "copies").iterdir()) == []


def fill(directory: Path, rows: int = 0) -> None:
    """A store with nothing in it, made and left by a server."""

    async def once() -> None:
        store = await open_sqlite(in_directory(directory))
        for _ in range(rows):
            await store.messages.add(INBOX, LETTERS, now=START)
        await store.close()

    asyncio.run(once())


def test_what_is_there_is_not_overwritten_unless_told(tmp_path: Path) -> None:
    fill(tmp_path)
    backup = tmp_path / "backup"
    backup.write_text("precious")
    with pytest.raises(FileExistsError):
        backed_up(tmp_path, backup)
    assert backup.read_text() == "precious"
    backed_up(tmp_path, backup, replace=True)
    assert backup.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("name", ["nuska.db", "nuska.db-wal", "nuska.db-shm", "nuska.db.lock"])
def test_a_backup_never_takes_the_place_of_the_store_itself(tmp_path: Path, name: str) -> None:
    fill(tmp_path, rows=1)
    before = (tmp_path / "nuska.db").read_bytes()
    with pytest.raises(Unavailable, match="belongs to the store itself"):
        backed_up(tmp_path, tmp_path / "." / name, replace=True)
    assert (tmp_path / "nuska.db").read_bytes() == before


def test_a_directory_is_not_replaced_by_a_backup(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "backup").mkdir()
    with pytest.raises(FileExistsError, match="not a plain file"):
        backed_up(tmp_path, tmp_path / "backup", replace=True)


def test_a_store_that_is_not_there_has_no_backup(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="There is no database"):
        backed_up(tmp_path / "nowhere", tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_use_is_not_restored_over(tmp_path: Path) -> None:
    fill(tmp_path)
    backup = backed_up(tmp_path, tmp_path / "backup")
    program = (
        "import fcntl, sys; fcntl.flock(f := open(sys.argv[1]), 2); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "nuska.db.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(Unavailable, match="in use already, by another process"):
            restored(backup, tmp_path, replace=True)
        process.communicate(b"\n", timeout=30)


async def test_what_was_there_before_a_restore_is_kept(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    store = await open_sqlite(in_directory(data))
    backed_up(data, backup)
    await store.messages.add(INBOX, LETTERS, now=START)
    await store.close()
    with pytest.raises(Unavailable, match="--force puts it aside"):
        restored(backup, data)
    kept = restored(backup, data, replace=True)
    assert kept is not None
    assert sorted(path.name for path in data.iterdir()) == [
        "nuska.db",
        "nuska.db.before-restore",
        "nuska.db.lock",
    ]
    empty = await open_sqlite(in_directory(data))
    assert await everything(empty, START) == []
    await empty.close()
    with pytest.raises(Unavailable, match="from the last time"):
        restored(backup, data, replace=True)
    (data / "nuska.db").unlink()
    kept.rename(data / "nuska.db")
    full = await open_sqlite(in_directory(data))
    assert len(await everything(full, START)) == len(LETTERS)
    await full.close()


async def test_a_restore_that_broke_off_can_be_done_again(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    store = await open_sqlite(in_directory(data))
    await store.messages.add(INBOX, LETTERS, now=START)
    backed_up(data, backup)
    await store.close()
    # As a crash leaves it between two renamings: aside, but for its log; the copy half made.
    (data / "nuska.db").rename(data / "nuska.db.before-restore")
    (data / "nuska.db-wal").write_bytes(b"the log of the one put aside")
    (data / "nuska.db.restored").write_bytes(b"half")
    with pytest.raises(Unavailable, match="--force"):
        restored(backup, data)
    restored(backup, data, replace=True)
    assert (data / "nuska.db.before-restore-wal").read_bytes() == b"the log of the one put aside"
    again = await open_sqlite(in_directory(data))
    assert len(await everything(again, START)) == len(LETTERS)
    await again.close()


def no_file(path: Path) -> None:
    path.unlink()


def text(path: Path) -> None:
    path.write_text("this is not a database, whatever its name says" * 100)


def foreign(path: Path) -> None:
    path.unlink()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE diary (entry)")
    connection.close()


def newer(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 12] = b"\x55" * 4096 * 9
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_file, "There is no file"),
        (text, "no database of Nuska's"),
        (foreign, "no database of Nuska's"),
        (newer, "newer release"),
        (damaged, "damaged"),
        (cut_off, "damaged"),
    ],
)
def test_only_a_sound_backup_takes_the_place_of_a_store(tmp_path: Path, spoil, said: str) -> None:
    data = tmp_path / "data"
    fill(data, rows=20)
    before = (data / "nuska.db").read_bytes()
    backup = backed_up(data, tmp_path / "backup")
    spoil(backup)
    with pytest.raises(Unavailable, match=said):
        restored(backup, data, replace=True)
    assert (data / "nuska.db").read_bytes() == before
    left = {path.name for path in data.iterdir()}
    assert left <= {"nuska.db", "nuska.db-wal", "nuska.db-shm", "nuska.db.lock"}


def test_a_copy_with_its_log_beside_it_can_be_restored_too(tmp_path: Path) -> None:
    """As a snapshot of the file system has it."""
    data, snapshot = tmp_path / "data", tmp_path / "snapshot"
    fill(data, rows=1)
    writing = apsw.Connection(str(data / "nuska.db"))
    writing.execute("UPDATE timeline SET last_moment = last_moment + 5")
    moment = writing.execute("SELECT last_moment FROM timeline").get
    snapshot.mkdir()
    for suffix in ("", "-wal"):
        (snapshot / f"nuska.db{suffix}").write_bytes((data / f"nuska.db{suffix}").read_bytes())
    writing.close()
    restored(snapshot / "nuska.db", tmp_path / "other")
    found = apsw.Connection(str(tmp_path / "other" / "nuska.db"))
    assert found.execute("SELECT last_moment FROM timeline").get == moment
    found.close()
