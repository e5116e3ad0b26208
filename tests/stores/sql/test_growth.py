"""Logs that come and go leave nothing behind."""

import pytest

from nuska.stores.sql import sweeping
from nuska.stores.sql.store import SqlStore
from nuska.stores.sql.url import parse
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, sweep_all

ROUNDS = 10
POSTS = 5
BATCH = 60
TABLES = ("announcements", "logs", "messages", "queues")


async def test_logs_that_are_trimmed_emptied_closed_or_expire_leave_no_rows(
    server, url: str, store: SqlStore, clock: ManualClock
) -> None:
    async def rows(table: str) -> int:
        return int(await server.ask(f"SELECT COUNT(*) FROM {table}", parse(url).database))

    for number in range(ROUNDS):
        inbox = Inbox(store, clock, f"queue {number}")
        log = Log(store, inbox)
        opened = await log.open()
        for turn in range(POSTS):
            await inbox.post(*map(str, range(BATCH)), ttl=MINUTE if turn % 2 else HOUR)
        announced = await log.all()
        await log.trim(announced[number * len(announced) // ROUNDS].position)
        if number % 3 == 1:
            await inbox.purge()
            await inbox.post("after")
        if number % 3 == 2:
            await log.close(opened.version)
        else:
            assert await log.state() is not None
        await inbox.drop()
    assert await rows("announcements") > 0
    await sweep_all(store, clock)
    still_open = ROUNDS - ROUNDS // 3
    assert [await rows(table) for table in TABLES] == [0, still_open, 0, 0]
    assert await rows("generations") == 0
    for number in range(ROUNDS):
        log = Log(store, Inbox(store, clock, f"queue {number}"))
        seen = await log.state()
        if seen is not None:
            assert await log.close(seen.version)
    assert await rows("logs") == 0


async def test_what_expires_in_a_log_that_nobody_reads_is_swept_in_small_steps(
    server, url: str, store: SqlStore, clock: ManualClock
) -> None:
    inbox = Inbox(store, clock)
    log = Log(store, inbox)
    await log.open()
    for _ in range(POSTS):
        await inbox.post(*map(str, range(BATCH)), ttl=MINUTE)
    await inbox.post("stays", ttl=HOUR)
    clock.advance(milliseconds=MINUTE)
    most = 0
    while (report := await store.sweep(now=clock.now())).more:
        most = max(most, report.removed)
    assert 0 < most < POSTS * BATCH
    assert await log.bodies() == ["stays"]
    assert await server.ask("SELECT COUNT(*) FROM announcements", parse(url).database) == 1


async def test_no_kind_of_waste_waits_until_there_is_no_more_of_another(
    server,
    url: str,
    store: SqlStore,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Messages and announcements expire, keys of posts too, and a queue has been purged."""
    monkeypatch.setattr(sweeping, "ROWS_PER_STEP", 2)
    await Inbox(store, clock, "purged").post(*map(str, range(BATCH)))
    await Inbox(store, clock, "purged").purge()
    inbox = Inbox(store, clock)
    await Log(store, inbox).open()
    for number in range(BATCH):
        await inbox.add(str(number), ttl=MINUTE, key=f"key {number}")
    clock.advance(milliseconds=HOUR - 1)

    async def rows(condition: str) -> int:
        return int(await server.ask(f"SELECT COUNT(*) FROM {condition}", parse(url).database))

    kinds = (
        "announcements",
        "posts",
        f"messages WHERE expires_at <= {clock.now()}",
        f"messages WHERE expires_at > {clock.now()}",
    )
    assert [await rows(kind) for kind in kinds] == [BATCH] * 4
    for _ in range(BATCH // 2):
        await store.sweep(now=clock.now())
    assert [kind for kind in kinds if await rows(kind) == BATCH] == []
