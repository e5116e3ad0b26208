"""A server that is killed, paused, restarted or replaced: refused clearly, recovered alone."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.messages import DeleteOutcome
from nuska.stores.redis.lane import ANSWER_WITHIN, CONNECT_WITHIN
from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance import (
    FailureConformance,
    LostHintConformance,
    NetworkFaultConformance,
)
from nuska.testing.conformance.failures import until_posted
from nuska.testing.conformance.inbox import Inbox, bodies, sweep_all
from nuska.testing.redis_server import (
    SYNCED,
    RedisCluster,
    RedisServer,
    SentinelSetup,
    redis_cluster,
    redis_server,
)

Open = Callable[[str], Awaitable[RedisStore]]
BOUND = CONNECT_WITHIN + ANSWER_WITHIN + 1
"""Seconds after which every request has been answered, whatever the server does."""


@pytest.fixture(scope="module")
def failing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def failing_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), SYNCED) as cluster:
        yield cluster


class TestRedis(FailureConformance, NetworkFaultConformance, LostHintConformance):
    BOUND = BOUND

    @pytest.fixture
    def engine(self, failing_server: RedisServer) -> RedisServer:
        return failing_server


class TestRedisCluster(FailureConformance, LostHintConformance):
    BOUND = BOUND

    @pytest.fixture
    def engine(self, failing_cluster: RedisCluster) -> RedisCluster:
        return failing_cluster


@pytest.fixture
def inbox(store: RedisStore) -> Inbox:
    return Inbox(store, ManualClock())


async def test_many_requests_to_a_silent_server_end_within_the_same_bound(
    server: RedisServer, inbox: Inbox
) -> None:
    await inbox.post("before")
    server.pause()
    with pytest.raises(Unavailable):
        await inbox.listed()
    began = time.monotonic()
    outcomes = await asyncio.gather(
        *(inbox.post(f"during {n}") for n in range(100)), return_exceptions=True
    )
    assert time.monotonic() - began < BOUND
    assert {type(outcome) for outcome in outcomes} == {Unavailable}
    server.resume()
    await until_posted(inbox, "after")
    assert await inbox.listed() == ["before", "after"]  # none of the others was ever sent


async def test_a_server_that_lost_the_functions_gets_them_again(
    server: RedisServer, inbox: Inbox
) -> None:
    await inbox.post("one")
    assert server.ask("FUNCTION", "DELETE", "nuska") == "+OK"
    await inbox.post("two")
    assert await inbox.listed() == ["one", "two"]


async def test_a_full_server_refuses_posts_lets_messages_go_and_takes_posts_again(
    server: RedisServer, inbox: Inbox
) -> None:
    await inbox.post("before")
    [done, popped] = await inbox.post("done", "popped")
    await inbox.claim(1, limit=2)
    await inbox.release(1)
    assert server.ask("CONFIG", "SET", "maxmemory", "1mb") == "+OK"
    with pytest.raises(Unavailable):
        await inbox.post("too much")
    assert await inbox.listed() == ["before", "done", "popped"]
    assert await inbox.delete(done) is DeleteOutcome.DELETED
    assert await inbox.delete_many(popped)
    assert server.ask("CONFIG", "SET", "maxmemory", "0") == "+OK"
    await inbox.post("after")
    assert await inbox.listed() == ["before", "after"]


async def test_a_pause_of_one_server_of_a_cluster_leaves_the_others_working(
    tmp_path: Path, open_at: Open
) -> None:
    with redis_cluster(tmp_path) as cluster:
        store = await open_at(cluster.url)
        boxes = [Inbox(store, ManualClock(), name=f"box-{n}") for n in range(12)]
        await asyncio.gather(*(box.post("before") for box in boxes))
        cluster.servers[0].pause()
        began = time.monotonic()
        outcomes = await asyncio.gather(*(b.listed() for b in boxes), return_exceptions=True)
        assert time.monotonic() - began < BOUND
        cluster.servers[0].resume()
        assert ["before"] in outcomes
        assert any(isinstance(outcome, Unavailable) for outcome in outcomes)
        for box in boxes:
            await until_posted(box, "after")
            assert await box.listed() == ["before", "after"]


@pytest.mark.slow
async def test_a_failover_is_survived_and_keeps_what_the_replica_had(
    watched: SentinelSetup, open_at: Open
) -> None:
    store = await open_at(watched.url)
    inbox = Inbox(store, ManualClock())
    await inbox.post("held", "free")
    held = await inbox.claim(1, limit=1)
    assert watched.primary.ask("WAIT", "1", "5000") == ":1"
    watched.primary.kill()
    with pytest.raises(Unavailable):
        await inbox.post("nobody takes it")
    watched.wait_until_replica_leads()
    await until_posted(inbox, "after")
    claim = await inbox.held(1)
    assert claim is not None
    assert claim.messages == held
    assert await inbox.listed() == ["free", "after"]
    watched.primary.start()  # it comes back as a replica, and is not mistaken for the primary
    for number in range(20):
        await until_posted(inbox, f"later {number}")
    assert len(await inbox.listed()) == 22


async def test_a_newer_library_is_refused_and_an_older_one_replaced(
    server: RedisServer, open_at: Open, tmp_path: Path
) -> None:
    store = await open_at(server.url)
    await store.close()
    for version, is_refused in ((99, True), (0, False)):
        library = (
            "#!lua name=nuska\nredis.register_function{function_name='nuska_version', "
            f"callback=function() return {version} end, flags={{'no-writes'}}}}"
        )
        assert server.ask("FUNCTION", "LOAD", "REPLACE", library) == "$5"
        if is_refused:
            with pytest.raises(Unavailable, match="newer"):
                await open_at(server.url)
        else:
            await Inbox(await open_at(server.url), ManualClock()).post("fine")


@pytest.mark.parametrize(
    ("arguments", "durable", "words"),
    [
        (("--appendonly", "yes", "--appendfsync", "always"), True, "synced to disk"),
        (("--appendonly", "yes", "--appendfsync", "everysec"), False, "two seconds"),
        (("--appendonly", "yes", "--appendfsync", "no"), False, "had not yet written"),
        (("--appendonly", "no", "--save", "3600 1"), False, "last snapshot"),
        (("--appendonly", "no", "--save", ""), False, "in memory only"),
    ],
)
async def test_a_store_says_what_the_settings_of_the_server_promise(
    tmp_path: Path, open_at: Open, arguments: tuple[str, ...], durable: bool, words: str
) -> None:
    with redis_server(tmp_path, arguments) as server:
        store = await open_at(server.url)
        assert store.capabilities.durable is durable
        assert words in store.durability


async def test_a_user_with_little_permission_a_database_and_a_prefix_suffice(
    server: RedisServer, open_at: Open
) -> None:
    may = ["+@read", "+@write", "+@scripting", "+@connection", "+info", "-@dangerous", "+info"]
    answer = server.ask("ACL", "SETUSER", "n:ska", "on", ">s@cr/t", "~mine:*", *may)
    assert answer == "+OK"
    url = f"redis://n%3Aska:s%40cr%2Ft@127.0.0.1:{server.port}/3?prefix=mine:"
    store = await open_at(url)
    assert "CONFIG GET" in store.durability
    assert store.capabilities.durable is False
    inbox = Inbox(store, ManualClock())
    await inbox.post("one")
    assert bodies(await inbox.claim(1)) == ["one"]
    await inbox.purge()
    await sweep_all(store, inbox.clock)
    assert server.ask("DBSIZE") == ":0"
    with pytest.raises(Unavailable, match="password"):
        await open_at(url.replace("cr", "wrong"))
