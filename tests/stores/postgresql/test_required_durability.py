"""A durability that is demanded is kept: read from the server's settings, waited for at commits."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability, Store
from nuska.stores.sql.database import ANSWER_WITHIN
from nuska.stores.sql.postgresql_durability import Quorum, quorum
from nuska.stores.sql.store import SqlStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.postgresql_server import (
    PostgresqlServer,
    StandbyServer,
    postgresql_server,
    standby_of,
)

Open = Callable[..., Awaitable[SqlStore]]
NONE, FSYNC, MAJORITY = Durability.NONE, Durability.FSYNC, Durability.MAJORITY
STANDBY = "copy"
BOUND = ANSWER_WITHIN + 2
"""Seconds in which a write that waits for a standby has been answered."""
SOON = 15


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[PostgresqlServer, StandbyServer]]:
    """A primary and a standby that follows it; which of them counts is up to a test."""
    with postgresql_server() as primary, standby_of(primary, STANDBY) as standby:
        yield primary, standby


@pytest.fixture
async def primary(
    pair: tuple[PostgresqlServer, StandbyServer],
) -> AsyncIterator[PostgresqlServer]:
    """With the settings that it comes with, and its standby in step."""
    yield pair[0]
    pair[1].resume()
    await pair[0].ask("ALTER SYSTEM RESET ALL")
    await pair[0].ask("SELECT pg_reload_conf()")
    await until(pair[0], "current_setting('synchronous_standby_names') = ''")


@pytest.fixture
def standby(pair: tuple[PostgresqlServer, StandbyServer]) -> StandbyServer:
    return pair[1]


async def set_to(server: PostgresqlServer, setting: str, value: str) -> None:
    """Change a setting as operators do, and wait until sessions go by it."""
    await server.ask(f"ALTER SYSTEM SET {setting} = '{value}'")
    await server.ask("SELECT pg_reload_conf()")
    await until(server, f"current_setting('{setting}') = '{value}'")


async def until(server: PostgresqlServer, condition: str) -> None:
    async with asyncio.timeout(SOON):
        while not await server.ask(f"SELECT {condition}"):  # noqa: ASYNC110  it is another process
            await asyncio.sleep(0.02)


def box(store: Store, name: str = "inbox") -> Inbox:
    return Inbox(store, ManualClock(), name=name)


@pytest.mark.parametrize(
    ("names", "means"),
    [
        ("", Quorum(0, 0)),
        ("a", Quorum(1, 1)),
        ("a, b", Quorum(1, 2)),
        ("*", Quorum(1, 0)),
        ("2 (a, b, c)", Quorum(2, 3)),
        ("FIRST 2 (a,b,c)", Quorum(2, 3)),
        ('ANY 1 ("an odd, name", b)', Quorum(1, 2)),
        ("any 2 (*)", Quorum(2, 0)),
    ],
)
def test_names_of_standbys_say_how_many_confirm_and_of_how_many(names: str, means: Quorum) -> None:
    assert quorum(names) == means


@pytest.mark.parametrize(
    ("setting", "value", "promises", "words"),
    [
        ("synchronous_commit", "on", FSYNC, "has been synced to disk (PostgreSQL"),
        ("synchronous_commit", "off", NONE, "loses the acknowledged writes of the last moments"),
        ("fsync", "off", NONE, "may cost the whole database (PostgreSQL, fsync off)"),
        ("full_page_writes", "off", NONE, "leave pages torn"),
        ("synchronous_standby_names", STANDBY, MAJORITY, "and synced to disk by 1 of 1 standby"),
    ],
)
async def test_what_the_settings_promise_is_said(
    primary: PostgresqlServer,
    open_at: Open,
    setting: str,
    value: str,
    promises: Durability,
    words: str,
) -> None:
    await set_to(primary, setting, value)
    store = await open_at(primary.new_url())
    assert store.capabilities.durability is promises
    assert words in store.durability


@pytest.mark.parametrize(
    ("setting", "required", "words"),
    [
        ("fsync", FSYNC, "syncs nothing to disk .fsync off"),
        ("full_page_writes", FSYNC, "torn pages .full_page_writes off"),
        ("fsync", MAJORITY, "syncs nothing to disk .fsync off"),
        ("synchronous_commit", MAJORITY, "waits for no standby .synchronous_standby_names"),
    ],
)
async def test_a_server_that_promises_less_is_refused_with_a_sentence_that_says_why(
    primary: PostgresqlServer, open_at: Open, setting: str, required: Durability, words: str
) -> None:
    await set_to(primary, setting, "off")
    demanded = f"--require-durability {required.name.lower()}: .*{words}"
    with pytest.raises(Unavailable, match=demanded):
        await open_at(primary.new_url(), required=required)


async def test_sessions_sync_before_they_acknowledge_where_the_servers_default_does_not(
    primary: PostgresqlServer, open_at: Open
) -> None:
    await set_to(primary, "synchronous_commit", "off")
    store = await open_at(primary.new_url(), required=FSYNC)
    assert store.capabilities.durability is FSYNC
    assert "synchronous_commit local" in store.durability
    await box(store).post("synced")


async def test_a_standby_that_is_not_there_confirms_nothing(
    primary: PostgresqlServer, open_at: Open
) -> None:
    url = primary.new_url()  # before nothing can be committed any more
    await set_to(primary, "synchronous_standby_names", "nobody")
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await open_at(url, required=MAJORITY)
    assert time.monotonic() - began < BOUND


async def test_one_of_three_standbys_is_no_majority_where_the_address_says_that_there_are_three(
    primary: PostgresqlServer, open_at: Open
) -> None:
    await set_to(primary, "synchronous_standby_names", STANDBY)
    url = primary.new_url()
    with pytest.raises(Unavailable, match="waits for 1 of 3 standby servers, which is no majority"):
        await open_at(f"{url}?replicas=3", required=MAJORITY)
    store = await open_at(f"{url}?replicas=2", required=MAJORITY)
    assert "synced to disk by 1 of 2 standby servers" in store.durability


async def test_a_write_that_no_standby_confirms_is_in_doubt_while_reads_go_on(
    primary: PostgresqlServer, standby: StandbyServer, open_at: Open
) -> None:
    await set_to(primary, "synchronous_standby_names", STANDBY)
    inbox = box(await open_at(primary.new_url(), required=MAJORITY))
    await inbox.post("before")
    standby.pause()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await inbox.add("during", key="k")
    assert time.monotonic() - began < BOUND
    assert (await inbox.listed())[0] == "before"
    standby.resume()
    await inbox.add("during", key="k")
    assert await inbox.listed() == ["before", "during"]


async def test_a_commit_whose_wait_for_a_standby_was_cancelled_is_no_success(
    primary: PostgresqlServer, standby: StandbyServer, open_at: Open
) -> None:
    await set_to(primary, "synchronous_standby_names", STANDBY)
    inbox = box(await open_at(primary.new_url(), required=MAJORITY))
    await inbox.post("before")
    standby.pause()
    posting = asyncio.create_task(inbox.post("during"))
    waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    await until(primary, f"count(*) > 0 {waiting}")
    await primary.ask(f"SELECT count(pg_cancel_backend(pid)) {waiting}")
    with pytest.raises(Unavailable, match="may or may not"):
        await posting


async def test_a_relaxed_queue_waits_for_no_standby(
    primary: PostgresqlServer, standby: StandbyServer, open_at: Open
) -> None:
    await set_to(primary, "synchronous_standby_names", STANDBY)
    store = await open_at(primary.new_url(), required=MAJORITY)
    inbox = box(store, "sensor")
    await store.queues.create(inbox.ref, {}, relaxed=True, now=inbox.now)
    standby.pause()
    await inbox.post("21.5", "21.6", "21.7")
    assert len(await inbox.claim(1, limit=1)) == 1
    await inbox.release(1)
    assert len(await inbox.pop(1)) == 1


async def test_a_setting_that_was_changed_meanwhile_is_noticed(
    primary: PostgresqlServer, open_at: Open
) -> None:
    store = await open_at(primary.new_url(), required=FSYNC)
    inbox = box(store)
    await inbox.post("synced")
    await set_to(primary, "fsync", "off")
    with pytest.raises(Unavailable):
        await store.look_at_settings()
    with pytest.raises(Unavailable):
        await inbox.post("not synced")
    await set_to(primary, "fsync", "on")
    await inbox.post("synced again")
    assert await inbox.listed() == ["synced", "synced again"]


@pytest.mark.slow
async def test_what_a_majority_acknowledged_is_on_the_standby_that_takes_over(
    open_at: Open,
) -> None:
    with postgresql_server() as primary, standby_of(primary, STANDBY) as standby:
        await set_to(primary, "synchronous_standby_names", STANDBY)
        inbox = box(await open_at(primary.url(), required=MAJORITY))
        numbers = [str(number) for number in range(20)]
        await asyncio.gather(*(inbox.post(number) for number in numbers))
        primary.kill()
        await standby.promote()
        survivor = box(await open_at(standby.url()))
        assert sorted(await survivor.listed(limit=100), key=int) == numbers
