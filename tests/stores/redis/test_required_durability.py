"""A durability that is demanded is kept: checked at the start, waited for at every write."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability, Store
from nuska.stores.redis.durability import CONFIRM_WITHIN
from nuska.stores.redis.lane import ANSWER_WITHIN
from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.redis_server import (
    REDIS,
    SYNCED,
    VALKEY,
    RedisServer,
    SentinelSetup,
    redis_server,
)

Open = Callable[..., Awaitable[RedisStore]]
FSYNC, MAJORITY = Durability.FSYNC, Durability.MAJORITY
EVERYSEC = ("--appendonly", "yes", "--appendfsync", "everysec")
BOUND = ANSWER_WITHIN + 2 * CONFIRM_WITHIN / 1000 + 1
"""Seconds in which a write that waits for replicas has been answered."""


@contextmanager
def two_servers(directory: Path, program: str) -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and a replica that is in step with it."""
    with redis_server(directory / "primary", program=program) as primary:
        following = ("--replicaof", "127.0.0.1", str(primary.port))
        with redis_server(directory / "replica", (*SYNCED, *following), program) as replica:
            wait_until(lambda: in_step(primary))
            yield primary, replica


def in_step(primary: RedisServer) -> bool:
    return primary.ask("WAIT", "1", "1000") == ":1"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    with two_servers(tmp_path, REDIS) as servers:
        yield servers


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def box(store: Store) -> Inbox:
    return Inbox(store, ManualClock())


async def test_a_server_that_syncs_before_it_answers_is_good_enough_for_fsync(
    server: RedisServer, open_at: Open
) -> None:
    store = await open_at(server.url, required=FSYNC)
    assert store.capabilities.durability is FSYNC
    await box(store).post("one")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (EVERYSEC, "acknowledges before it syncs .appendfsync everysec"),
        (("--appendonly", "yes", "--appendfsync", "no"), "acknowledges before it syncs"),
        (("--appendonly", "no"), "syncs nothing to disk .appendonly no"),
    ],
)
async def test_a_server_that_promises_less_is_refused_with_a_sentence_that_says_why(
    tmp_path: Path, open_at: Open, arguments: tuple[str, ...], words: str
) -> None:
    with (
        redis_server(tmp_path, arguments) as server,
        pytest.raises(Unavailable, match=f"--require-durability fsync: Redis {words}"),
    ):
        await open_at(server.url, required=FSYNC)


async def test_settings_that_may_not_be_read_are_no_promise(
    server: RedisServer, open_at: Open
) -> None:
    may = ["+@read", "+@write", "+@scripting", "+@connection", "+info", "-config"]
    assert server.ask("ACL", "SETUSER", "nuska", "on", ">x", "~*", "&*", *may) == "+OK"
    url = f"redis://nuska:x@127.0.0.1:{server.port}"
    with pytest.raises(Unavailable, match=r"is not known.* Allow CONFIG GET to the user"):
        await open_at(url, required=FSYNC)
    assert "CONFIG GET" in (await open_at(url)).durability


async def test_no_majority_without_replicas(server: RedisServer, open_at: Open) -> None:
    with pytest.raises(Unavailable, match="no replica in step"):
        await open_at(server.url, required=MAJORITY)


async def test_no_majority_when_fewer_replicas_are_there_than_the_url_says(
    pair: tuple[RedisServer, RedisServer], open_at: Open
) -> None:
    with pytest.raises(Unavailable, match=r"did not confirm within 2 seconds \(WAIT 2"):
        await open_at(f"{pair[0].url}?replicas=3", required=MAJORITY)
    store = await open_at(f"{pair[0].url}?replicas=2", required=MAJORITY)
    assert "received by 1 of 2 replicas" in store.durability


async def test_what_was_acknowledged_by_a_majority_is_on_the_replica(
    pair: tuple[RedisServer, RedisServer], open_at: Open
) -> None:
    primary, replica = pair
    store = await open_at(primary.url, required=MAJORITY)
    assert store.capabilities.durability is MAJORITY
    assert "received by 1 of 1 replica (" in store.durability
    inbox = box(store)
    for number in range(20):
        await inbox.post(f"{number}")
    primary.kill()
    assert replica.ask("REPLICAOF", "NO", "ONE") == "+OK"
    survivor = box(await open_at(replica.url))
    assert await survivor.listed(limit=100) == [str(number) for number in range(20)]


async def test_a_write_that_no_replica_confirms_is_in_doubt_and_never_a_success(
    pair: tuple[RedisServer, RedisServer], open_at: Open
) -> None:
    primary, replica = pair
    inbox = box(await open_at(primary.url, required=MAJORITY))
    await inbox.post("before")
    replica.pause()
    began = time.monotonic()
    with pytest.raises(Unavailable, match="may or may not have been made"):
        await inbox.add("during", key="k")
    assert time.monotonic() - began < BOUND
    with pytest.raises(Unavailable, match="may or may not"):  # it is there, and still in doubt
        await inbox.add("during", key="k")
    replica.resume()
    wait_until(lambda: in_step(primary))
    await inbox.add("during", key="k")
    assert await inbox.listed() == ["before", "during"]


@pytest.mark.parametrize("program", [REDIS, VALKEY])
async def test_what_another_node_did_is_in_doubt_until_a_replica_has_it(
    tmp_path: Path, open_at: Open, program: str
) -> None:
    """A server confirms to a connection what that one has written; from 7.2 on, no more."""
    with two_servers(tmp_path, program) as (primary, replica):
        one, other = [box(await open_at(primary.url, required=MAJORITY)) for _ in range(2)]
        done, many = await one.post("done", "many")
        await other.add("stays", key="j")  # and an index has what the next one needs
        replica.pause()
        for node in (one, other):  # the other finds all of it done, and on no replica
            outcomes = await asyncio.gather(
                node.add("during", key="k"),
                node.delete(done),
                node.delete_many(many),
                node.store.queues.create(node.ref, {}, now=node.now),
                return_exceptions=True,
            )
            assert [type(outcome) for outcome in outcomes] == [Unavailable] * len(outcomes)
        replica.resume()
        wait_until(lambda: in_step(primary))
        assert (await other.add("during", key="k")).replayed
        assert await other.listed() == ["stays", "during"]


async def test_reads_go_on_while_no_replica_confirms(
    pair: tuple[RedisServer, RedisServer], open_at: Open
) -> None:
    primary, replica = pair
    inbox = box(await open_at(primary.url, required=MAJORITY))
    await inbox.post("before")
    replica.kill()
    with pytest.raises(Unavailable):
        await inbox.post("during")
    assert (await inbox.listed())[0] == "before"


async def test_a_setting_that_was_changed_meanwhile_is_noticed(
    server: RedisServer, open_at: Open
) -> None:
    store = await open_at(server.url, required=FSYNC)
    inbox = box(store)
    await inbox.post("synced")
    assert server.ask("CONFIG", "SET", "appendfsync", "everysec") == "+OK"
    with pytest.raises(Unavailable):
        await store.look_at_settings()
    with pytest.raises(Unavailable):
        await inbox.post("not synced")
    assert server.ask("CONFIG", "SET", "appendfsync", "always") == "+OK"
    await inbox.post("synced again")
    assert await inbox.listed() == ["synced", "synced again"]


async def test_a_server_that_comes_back_weaker_is_not_written_to(
    tmp_path: Path, open_at: Open
) -> None:
    with redis_server(tmp_path) as strong:
        inbox = box(await open_at(strong.url, required=FSYNC))
        await inbox.post("synced")
        port = strong.port
    weak = RedisServer(tmp_path, EVERYSEC, port)
    try:
        weak.start()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await inbox.post("not synced")
        assert weak.ask("CONFIG", "SET", "appendfsync", "always") == "+OK"
        await inbox.post("synced again")
        assert await inbox.listed() == ["synced", "synced again"]
    finally:
        weak.kill()


@pytest.mark.slow
async def test_after_a_failover_a_majority_is_still_two_of_two(
    watched: SentinelSetup, open_at: Open
) -> None:
    inbox = box(await open_at(watched.url, required=MAJORITY))
    await inbox.post("before")
    watched.primary.kill()
    watched.wait_until_replica_leads()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await inbox.post("alone")
    watched.primary.start()  # as the replica of the one that took over
    deadline = time.monotonic() + 60
    while True:
        try:
            await inbox.post("together")
            break
        except Unavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    listed = await inbox.listed(limit=1000)
    assert listed[0] == "before"
    assert "together" in listed
