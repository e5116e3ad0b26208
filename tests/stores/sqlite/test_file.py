"""The file: its version, its one owner, its size, its log."""

import os
import threading
from pathlib import Path

import apsw
import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import StoreOptions
from nuska.stores.sqlite import checkpoint, open_store
from nuska.stores.sqlite.store import SqliteStore, open_sqlite
from nuska.testing.clock import ManualClock

INBOX = QueueRef("acme", "inbox")
LETTERS = [NewMessage(body=b'{"n": 1, "text": "a small message"}', ttl=seconds(300))] * 1000


def files_of(directory: Path) -> list[Path]:
    """The database, its log, its index and its lock."""
    return list(directory.glob("nuska.db*"))


async def test_a_file_of_a_newer_release_is_refused_in_plain_words(
    options: StoreOptions, tmp_path: Path
) -> None:
    await (await open_store(options)).close()
    connection = apsw.Connection(str(tmp_path / "nuska.db"))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(Unavailable, match="newer release"):
        await open_store(options)


async def test_a_file_with_other_tables_is_refused_in_plain_words(
    options: StoreOptions, tmp_path: Path
) -> None:
    await (await open_store(options)).close()
    connection = apsw.Connection(str(tmp_path / "nuska.db"))
    connection.execute("DROP TABLE logs")
    connection.close()
    with pytest.raises(Unavailable, match=r"not have the tables of this release \(no such table"):
        await open_store(options)


async def test_a_second_owner_of_the_file_is_refused(
    sqlite: SqliteStore, options: StoreOptions
) -> None:
    with pytest.raises(Unavailable, match="in use already, by another process"):
        await open_store(options)


async def test_a_refused_start_lets_go_of_the_file(options: StoreOptions, tmp_path: Path) -> None:
    (tmp_path / "nuska.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"nuska\.db is no database"):
            await open_store(options)


async def test_nothing_is_put_into_a_database_of_another_program(
    options: StoreOptions, tmp_path: Path
) -> None:
    foreign = apsw.Connection(str(tmp_path / "nuska.db"))
    foreign.execute("CREATE TABLE diary (entry)")
    foreign.close()
    with pytest.raises(Unavailable, match=r"nuska\.db is a database of another program"):
        await open_store(options)
    foreign = apsw.Connection(str(tmp_path / "nuska.db"))
    assert foreign.execute("SELECT name FROM sqlite_schema").get == "diary"
    foreign.close()


async def test_nobody_else_on_the_machine_can_read_the_data(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    await sqlite.messages.add(INBOX, LETTERS[:1], now=clock.now())
    modes = {one.name: one.stat().st_mode & 0o777 for one in files_of(tmp_path)}
    assert len(modes) == 4
    assert set(modes.values()) == {0o600}


async def test_a_data_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = StoreOptions(
        url="sqlite:",
        data_dir=str(tmp_path / "file" / "data"),
        now=0,
        random_bytes=os.urandom,  # type: ignore[arg-type]
    )
    with pytest.raises(Unavailable, match="data directory"):
        await open_store(options)


async def test_the_log_starts_over_while_writes_go_on(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "CHECKPOINT_PAGES", 50)
    monkeypatch.setattr(checkpoint, "RESET_PAGES", 200)
    for _ in range(60):
        await sqlite.messages.add(INBOX, LETTERS[:500], now=clock.now())
    log_pages = (tmp_path / "nuska.db-wal").stat().st_size / 4096
    assert log_pages < 2000
    assert (await sqlite.queues.stats(INBOX, now=clock.now())).ready == 30_000


async def test_space_is_given_back_after_a_backlog_has_gone(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path
) -> None:
    for _ in range(60):
        await sqlite.messages.add(INBOX, LETTERS, now=clock.now())
    await sqlite.queues.purge(INBOX, now=clock.now())
    while (await sqlite.sweep(now=clock.now())).more:
        pass
    on_disk = sum(one.stat().st_size for one in files_of(tmp_path))
    assert on_disk < 10_000_000


async def test_a_long_log_is_given_back_although_a_checkpoint_is_under_way(
    sqlite: SqliteStore, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_copy = threading.Event()
    copy, quiet = sqlite._checkpointer._copy, sqlite._checkpointer.quiet

    def slow(to_the_end: bool) -> None:
        may_copy.wait(10)
        copy(to_the_end)

    async def awaited() -> None:
        may_copy.set()
        await quiet()

    monkeypatch.setattr(sqlite._checkpointer, "_copy", slow)
    monkeypatch.setattr(sqlite._checkpointer, "quiet", awaited)
    for _ in range(60):
        await sqlite.messages.add(INBOX, LETTERS, now=clock.now())
    await sqlite.sweep(now=clock.now())
    [log] = [one for one in files_of(tmp_path) if one.name.endswith("-wal")]
    assert log.stat().st_size == 0


async def test_the_timeline_does_not_run_backwards_over_a_restart(
    options: StoreOptions, clock: ManualClock
) -> None:
    store = await open_sqlite(options)
    first = await store.messages.add(INBOX, LETTERS[:1], now=clock.advance(seconds=100))
    await store.close()
    reopened = await open_sqlite(options)
    second = await reopened.messages.add(INBOX, LETTERS[:1], now=options.now)
    found = await reopened.messages.get(INBOX, [*first.ids, *second.ids], now=options.now)
    assert found[1].created_at >= found[0].created_at
    assert found[1].position > found[0].position
    await reopened.close()


async def test_positions_go_on_above_a_burst_after_a_restart_in_the_same_instant(
    options: StoreOptions, clock: ManualClock
) -> None:
    store = await open_sqlite(options)
    burst = await store.messages.add(INBOX, LETTERS * 6, now=clock.now())
    last = (await store.messages.get(INBOX, burst.ids[-1:], now=clock.now()))[0].position
    await store.queues.purge(INBOX, now=clock.now())
    await store.close()
    reopened = await open_sqlite(options)
    later = await reopened.messages.add(INBOX, LETTERS[:1], now=clock.now())
    assert (await reopened.messages.get(INBOX, later.ids, now=clock.now()))[0].position > last
    await reopened.close()
