"""How often Redis is asked: what a queue needs for the first time costs one more round trip."""

from collections.abc import Awaitable, Callable

import pytest

from nuska.domain.errors import Unavailable
from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import log_of
from nuska.testing.conformance.inbox import Inbox, bodies
from nuska.testing.redis_server import RedisServer

Open = Callable[..., Awaitable[RedisStore]]

READS = "total_reads_processed:"


class RoundTrips:
    """How often the server reads from connections, the question for that left out."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._last = self._count()
        self._question = 0
        self._question = self.since()

    def since(self) -> int:
        """Since the last time."""
        before, self._last = self._last, self._count()
        return self._last - before - self._question

    def _count(self) -> int:
        stats = self._server.ask_all("INFO", "stats")
        [found] = [line for line in stats.split("\r\n") if line.startswith(READS)]
        return int(found.removeprefix(READS))


@pytest.fixture
def inbox(store: RedisStore) -> Inbox:
    return Inbox(store, ManualClock())


async def test_a_first_claim_asks_twice_and_a_later_one_once(
    inbox: Inbox, server: RedisServer
) -> None:
    await inbox.post("one", "two", "three")
    trips, taken = RoundTrips(server), []
    for number in (1, 2, 3):
        await inbox.claim(number, limit=1)
        taken.append(trips.since())
    assert taken == [2, 1, 1]


async def test_a_first_post_asks_once_more_for_each_index(
    inbox: Inbox, server: RedisServer
) -> None:
    await inbox.beside("another").post("one")  # it finds out what this user may do
    trips, taken = RoundTrips(server), []
    for _ in range(2):
        await inbox.post("one")
        taken.append(trips.since())
    assert taken == [3, 1]


async def test_a_post_asks_as_often_whether_its_log_is_open_or_not(
    inbox: Inbox, server: RedisServer
) -> None:
    await inbox.post("one")
    trips, taken = RoundTrips(server), []
    await inbox.post("two")
    taken.append(trips.since())
    log = log_of(inbox)
    opened = await log.open()
    taken.append(trips.since())
    await inbox.post("three", "four")
    taken.append(trips.since())
    assert await log.bodies() == ["three", "four"]
    taken.append(trips.since())
    await log.trim(opened.last)
    taken.append(trips.since())
    await log.close(opened.version)
    taken.append(trips.since())
    assert taken == [1] * 6


async def test_a_post_that_nobody_listens_to_writes_what_it_wrote_before_there_were_logs(
    inbox: Inbox, server: RedisServer
) -> None:
    await inbox.post("one")
    server.ask("CONFIG", "RESETSTAT")
    await inbox.post("two")
    stats = server.ask_all("INFO", "commandstats")
    called = {line.split(":")[0] for line in stats.split("\r\n") if line.startswith("cmdstat_")}
    commands = {"fcall", "hmget", "zadd", "hset", "config|resetstat"}
    assert called == {f"cmdstat_{command}" for command in commands}


async def test_a_user_who_may_not_combine_commands_asks_one_after_the_other(
    server: RedisServer, open_at: Open
) -> None:
    may = ["+@all", "-@transaction"]
    server.ask("ACL", "SETUSER", "plain", "on", ">secret", "~*", "&*", *may)
    store = await open_at(f"redis://plain:secret@127.0.0.1:{server.port}")
    inbox = Inbox(store, ManualClock())
    await inbox.post("one")
    assert bodies(await inbox.claim(1, limit=5)) == ["one"]


async def test_what_cannot_be_indexed_is_not_done(inbox: Inbox, server: RedisServer) -> None:
    """A purge frees memory, so a full server would carry it out: nobody would sweep up after it."""
    await inbox.post("one", "two")
    server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Unavailable):
        await inbox.purge()
    server.ask("CONFIG", "SET", "maxmemory", "0")
    assert bodies(await inbox.claim(1, limit=5)) == ["one", "two"]
