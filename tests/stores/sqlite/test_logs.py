"""What announcement logs cost: nothing to speak of where there is none, small steps elsewhere."""

import apsw
import pytest

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.sqlite import announcements
from nuska.stores.sqlite.announcements import TRIMMED_PER_STEP
from nuska.stores.sqlite.store import SqliteStore
from nuska.testing.clock import ManualClock

INBOX = QueueRef("acme", "inbox")


def letters(count: int, *, ttl: int = 3600) -> list[NewMessage]:
    return [NewMessage(body=b"1", ttl=seconds(ttl)) for _ in range(count)]


def rows(store: SqliteStore, table: str) -> int:
    return int(apsw.Connection(str(store.path)).execute(f"SELECT count(*) FROM {table}").get)


async def sweep_all(store: SqliteStore, clock: ManualClock) -> None:
    while (await store.sweep(now=clock.now())).more:
        pass


async def test_a_queue_without_a_log_writes_nothing_more(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await sqlite.messages.add(INBOX, letters(3), now=clock.now())
    statements: list[str] = []
    connection = sqlite.writer._connection
    assert connection is not None
    connection.exec_trace = lambda _cursor, sql, _values: statements.append(sql) is None
    await sqlite.messages.add(INBOX, letters(3), now=clock.now())
    assert any("INSERT INTO messages" in sql for sql in statements)
    assert not [sql for sql in statements if "announcements" in sql or "logs" in sql]


@pytest.mark.parametrize("how", ["purge", "delete", "close"])
async def test_a_log_is_emptied_at_once_and_its_rows_go_later(
    sqlite: SqliteStore, clock: ManualClock, how: str
) -> None:
    opened = await sqlite.announcements.open(INBOX, now=clock.now())
    await sqlite.messages.add(INBOX, letters(500), now=clock.now())
    if how == "close":
        await sqlite.announcements.close(INBOX, version=opened.version, now=clock.now())
    elif how == "purge":
        await sqlite.queues.purge(INBOX, now=clock.now())
    else:
        await sqlite.queues.delete(INBOX, now=clock.now())
    assert await sqlite.announcements.page(INBOX, after=BEFORE_ALL, limit=9, now=clock.now()) == []
    assert rows(sqlite, "announcements") == 500
    await sweep_all(sqlite, clock)
    assert rows(sqlite, "announcements") == rows(sqlite, "old_generations") == 0
    assert rows(sqlite, "logs") == (0 if how == "close" else 1)


async def test_what_has_expired_in_a_log_is_swept(sqlite: SqliteStore, clock: ManualClock) -> None:
    await sqlite.announcements.open(INBOX, now=clock.now())
    await sqlite.messages.add(INBOX, letters(300, ttl=60), now=clock.now())
    await sqlite.messages.add(INBOX, letters(2), now=clock.now())
    clock.advance(seconds=61)
    await sweep_all(sqlite, clock)
    assert rows(sqlite, "announcements") == 2


async def test_trimming_takes_small_steps_and_writes_nothing_when_there_is_nothing(
    sqlite: SqliteStore, clock: ManualClock
) -> None:
    await sqlite.announcements.open(INBOX, now=clock.now())
    await sqlite.messages.add(INBOX, letters(2 * TRIMMED_PER_STEP + 1), now=clock.now())
    log = await sqlite.announcements.page(INBOX, after=BEFORE_ALL, limit=1000, now=clock.now())
    left = []
    for _ in range(3):
        more = await sqlite.announcements.trim(INBOX, through=log[-2].position, now=clock.now())
        left.append((rows(sqlite, "announcements"), more))
    assert left == [(TRIMMED_PER_STEP + 1, True), (1, True), (1, False)]
    writes = sqlite.writer.writes
    assert not await sqlite.announcements.trim(INBOX, through=log[-2].position, now=clock.now())
    assert sqlite.writer.writes == writes


async def test_a_page_behind_many_expired_announcements_is_read_beside_the_event_loop(
    sqlite: SqliteStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcements, "WINDOW", 10)
    await sqlite.announcements.open(INBOX, now=clock.now())
    await sqlite.messages.add(INBOX, letters(100, ttl=60), now=clock.now())
    await sqlite.messages.add(INBOX, letters(8), now=clock.now())
    clock.advance(seconds=61)
    scans = []
    scan = sqlite._reader.scan

    async def counted(work: object) -> object:
        scans.append(work)
        return await scan(work)  # type: ignore[arg-type]

    monkeypatch.setattr(sqlite._reader, "scan", counted)
    page = await sqlite.announcements.page(INBOX, after=BEFORE_ALL, limit=5, now=clock.now())
    assert (len(page), len(scans)) == (5, 1)
    rest = page[-1].position
    page = await sqlite.announcements.page(INBOX, after=rest, limit=5, now=clock.now())
    assert (len(page), len(scans)) == (3, 1)
