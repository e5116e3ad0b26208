"""What announcement logs take of the memory of Redis, and that they give it back."""

import pytest

from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log, log_of
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, sweep_all
from nuska.testing.redis_server import RedisServer

POSTS = 200
MESSAGES_EACH = 10
BODY = "x" * 500
BESIDE_THE_BODY = 320
"""Bytes; docs/redis.md says so."""

PINNED = 0.75
"""Of what half of the messages took, at most; a stream frees a page when all of it is gone."""


@pytest.fixture
def inbox(store: RedisStore) -> Inbox:
    return Inbox(store, ManualClock())


@pytest.fixture
async def log(inbox: Inbox) -> Log:
    log = log_of(inbox)
    await log.open()
    return log


def keys(server: RedisServer) -> list[str]:
    return [part for part in server.ask_all("KEYS", "*:log*").split("\r\n") if ":log" in part]


def memory(server: RedisServer) -> int:
    """What the keys of all logs take, to the byte."""
    sizes = [server.ask("MEMORY", "USAGE", key, "SAMPLES", "0") for key in keys(server)]
    return sum(int(size.removeprefix(":")) for size in sizes)


async def fill(inbox: Inbox) -> None:
    for number in range(POSTS):
        ttl = HOUR if number % 2 else MINUTE
        await inbox.post(*[BODY] * MESSAGES_EACH, ttl=ttl)
        inbox.clock.advance(milliseconds=7)


@pytest.mark.usefixtures("log")
async def test_an_announcement_takes_its_body_and_little_more(
    inbox: Inbox, server: RedisServer
) -> None:
    await fill(inbox)
    each = memory(server) / (POSTS * MESSAGES_EACH)
    assert len(BODY) < each < len(BODY) + BESIDE_THE_BODY


async def test_what_is_trimmed_gives_its_memory_back(
    log: Log, inbox: Inbox, server: RedisServer
) -> None:
    await fill(inbox)
    full = memory(server)
    await log.trim((await log.all(limit=POSTS * MESSAGES_EACH))[-1].position)
    assert memory(server) < full / 100


@pytest.mark.usefixtures("log")
async def test_what_has_expired_between_what_has_not_gives_its_memory_back(
    inbox: Inbox, server: RedisServer
) -> None:
    await fill(inbox)
    full = memory(server)
    inbox.clock.advance(milliseconds=MINUTE)
    await sweep_all(inbox.store, inbox.clock)
    assert memory(server) < full * PINNED


@pytest.mark.parametrize("emptying", [Inbox.purge, Inbox.drop])
async def test_what_is_purged_or_deleted_is_swept_away(
    log: Log, inbox: Inbox, server: RedisServer, emptying: object
) -> None:
    assert callable(emptying)
    await fill(inbox)
    await emptying(inbox)
    assert await log.all() == []
    await sweep_all(inbox.store, inbox.clock)
    assert keys(server) == []
