"""A node listens to the channels of those classes in which somebody there waits, and no others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from nuska.domain.messages import QueueRef
from nuska.interfaces.storage import Store
from nuska.stores.redis import interest
from nuska.stores.redis.interest import class_of
from nuska.stores.redis.names import Names, tag
from nuska.stores.redis.store import RedisStore
from nuska.testing.opening import Open
from nuska.testing.redis_server import IN_MEMORY, RedisServer, redis_server

WITHIN = 20.0
HINTS = Names("nuska:").hints
Heard = asyncio.Queue[tuple[QueueRef | None, int]]


def queue(number: int) -> QueueRef:
    return QueueRef("acme", f"queue {number}")


ONE, TWO = queue(1), queue(2)


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis"), IN_MEMORY) as server:
        yield server


@pytest.fixture
def server(quick_server: RedisServer) -> RedisServer:
    quick_server.ask("FLUSHALL")
    return quick_server


@pytest.fixture
async def nodes(server: RedisServer, open_at: Open) -> list[RedisStore]:
    return [redis(await open_at(server.url)) for _ in "ab"]


def redis(store: Store) -> RedisStore:
    assert isinstance(store, RedisStore)
    return store


def listened_to(server: RedisServer) -> set[str]:
    """Channels that somebody listens to by name, but for the one to everybody."""
    lines = server.ask_all("PUBSUB", "CHANNELS", f"{HINTS}:*").split("\r\n")
    return {line for line in lines if line.startswith(HINTS)}


def channels(*queues: QueueRef) -> set[str]:
    return {Names("nuska:").hints_of(class_of(tag(one))) for one in queues}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN):
        while not holds():  # noqa: ASYNC110  another process is looked at
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(store: RedisStore, *, to: list[QueueRef] | None = None) -> AsyncIterator[Heard]:
    """What the node hears: of everything, unless it said what it wants ``to`` hear of."""
    for one in to or []:
        store.heed(one)
    if to is not None:
        store.disregard(None)
    heard: Heard = asyncio.Queue()
    task = asyncio.create_task(store.hear_others(lambda ref, n: heard.put_nowait((ref, n))))
    try:
        async with asyncio.timeout(WITHIN):
            assert await heard.get() == (None, 0)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until_told(speaker: RedisStore) -> None:
    """Until Redis has all that the node had to say."""
    await speaker._hints.close()


async def next_of(heard: Heard) -> tuple[QueueRef | None, int]:
    async with asyncio.timeout(WITHIN):
        return await heard.get()


async def test_a_node_hears_of_what_it_wants_to_and_of_nothing_else(
    nodes: list[RedisStore], server: RedisServer
) -> None:
    speaker, listener = nodes
    async with listening(listener, to=[ONE]) as heard:
        assert listened_to(server) == channels(ONE)
        assert server.ask("PUBSUB", "NUMPAT") == ":0"
        for one in (TWO, ONE, TWO):
            speaker.tell(one, 3)
        assert await next_of(heard) == (ONE, 3)
        speaker.tell(ONE, 1)
        assert await next_of(heard) == (ONE, 1)
        assert heard.empty()


async def test_a_node_that_has_not_said_what_it_wants_hears_of_everything(
    nodes: list[RedisStore], server: RedisServer
) -> None:
    speaker, listener = nodes
    async with listening(listener) as heard:
        assert listened_to(server) == set()
        speaker.tell(ONE, 1)
        speaker.tell(TWO, 2)
        assert [await next_of(heard) for _ in "12"] == [(ONE, 1), (TWO, 2)]


async def test_who_comes_later_is_told_to_look_when_the_node_listens_for_him(
    nodes: list[RedisStore], server: RedisServer
) -> None:
    speaker, listener = nodes
    async with listening(listener, to=[]) as heard:
        speaker.tell(ONE, 1)  # to nobody
        await until_told(speaker)
        listener.heed(ONE)
        ref, takers = await next_of(heard)
        assert (ref, takers > 1) == (ONE, True)
        assert listened_to(server) == channels(ONE)
        speaker.tell(ONE, 7)
        assert await next_of(heard) == (ONE, 7)


async def test_a_class_is_listened_to_until_nobody_has_wanted_it_for_a_while(
    nodes: list[RedisStore], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker, listener = nodes
    async with listening(listener, to=[ONE, ONE]) as heard:
        listener.disregard(ONE)
        speaker.tell(ONE, 1)
        assert await next_of(heard) == (ONE, 1)
        listener.disregard(ONE)
        listener.heed(TWO)
        assert (await next_of(heard))[0] == TWO
        assert listened_to(server) == channels(ONE, TWO)
        speaker.tell(ONE, 1)  # heard, and passed on to nobody
        monkeypatch.setattr(interest, "LINGERS", 0.0)
        listener.heed(queue(3))
        assert (await next_of(heard))[0] == queue(3)
        await until(lambda: listened_to(server) == channels(TWO, queue(3)))
        listener.heed(ONE)
        assert (await next_of(heard))[0] == ONE


async def test_a_node_that_wants_very_many_classes_listens_to_all_until_they_are_few(
    nodes: list[RedisStore], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interest, "MOST", 4)
    monkeypatch.setattr(interest, "FEW_AGAIN", 2)
    monkeypatch.setattr(interest, "LINGERS", 0.0)
    speaker, listener = nodes
    many = [queue(number) for number in range(6)]
    async with listening(listener, to=many[:3]) as heard:
        for one in many[3:]:
            listener.heed(one)
        while await next_of(heard) != (None, 0):
            pass
        assert server.ask("PUBSUB", "NUMPAT") == ":1"
        assert listened_to(server) == set()
        speaker.tell(queue(99), 1)
        for one in many:
            speaker.tell(one, 5)
        assert {await next_of(heard) for _ in many} == {(one, 5) for one in many}
        for one in many[1:]:
            listener.disregard(one)
        listener.heed(queue(7))
        await until(lambda: server.ask("PUBSUB", "NUMPAT") == ":0")
        await until(lambda: listened_to(server) == channels(many[0], queue(7)))
        while not heard.empty():
            heard.get_nowait()
        speaker.tell(many[0], 8)
        while await next_of(heard) != (many[0], 8):
            pass


async def test_whoever_wants_to_hear_of_everything_does_while_he_wants_it(
    nodes: list[RedisStore], server: RedisServer
) -> None:
    speaker, listener = nodes
    async with listening(listener, to=[ONE]) as heard:
        listener.heed(None)
        assert await next_of(heard) == (None, 0)
        speaker.tell(TWO, 2)
        assert await next_of(heard) == (TWO, 2)
        listener.disregard(None)
        await until(lambda: listened_to(server) == channels(ONE))
        assert (await next_of(heard))[0] == ONE  # what was missed meanwhile


async def test_what_was_wanted_is_heard_again_after_the_connection_was_lost(
    nodes: list[RedisStore], server: RedisServer
) -> None:
    speaker, listener = nodes
    async with listening(listener, to=[ONE]) as heard:
        server.ask("CLIENT", "KILL", "TYPE", "pubsub")
        assert await next_of(heard) == (None, 0)  # lost
        listener.heed(TWO)
        assert await next_of(heard) == (None, 0)  # and found
        assert listened_to(server) == channels(ONE, TWO)
        speaker.tell(TWO, 1)
        assert await next_of(heard) == (TWO, 1)


async def test_very_many_queues_at_once_are_told_as_any(nodes: list[RedisStore]) -> None:
    speaker, listener = nodes
    async with listening(listener, to=[]) as heard:
        for number in range(2000):
            speaker.tell(queue(number), 1)
        assert await next_of(heard) == (None, 0)


async def test_a_prefix_is_no_pattern(server: RedisServer, open_at: Open) -> None:
    speaker, listener, other = [
        redis(await open_at(f"{server.url}?prefix={prefix}"))
        for prefix in ("a*%5B:", "a*%5B:", "aby%5B:")
    ]
    async with listening(listener) as heard:
        other.tell(ONE, 1)
        await until_told(other)
        speaker.tell(TWO, 2)
        assert await next_of(heard) == (TWO, 2)


async def test_many_queues_are_told_in_one_call(
    nodes: list[RedisStore], server: RedisServer
) -> None:
    speaker, listener = nodes
    many = [queue(number) for number in range(50)]
    async with listening(listener, to=many) as heard:
        server.ask("CONFIG", "RESETSTAT")
        for one in many:
            speaker.tell(one, 1)
        assert {await next_of(heard) for _ in many} == {(one, 1) for one in many}
        stats = server.ask_all("INFO", "commandstats")
        assert "cmdstat_fcall:calls=1," in stats
        assert "cmdstat_publish:calls=50," in stats
