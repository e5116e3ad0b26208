"""Carrying queues on MongoDB: a fence between two statements, in pieces, and under load."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import msgspec
import pytest
from bson import ObjectId

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.pools import Pool
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.stores.mongodb import carried, writer
from nuska.stores.mongodb.connection import Connection
from nuska.stores.mongodb.looking import RELIED_ON_FOR, Seen
from nuska.stores.mongodb.store import MongoStore
from nuska.stores.mongodb.timeline import since_boot
from nuska.stores.mongodb.writer import Writer
from nuska.stores.pooled import PooledStore, pooled
from nuska.stores.pooled.catalogue import POOLS
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.inbox import HOUR, Inbox, bodies
from nuska.testing.conformance.transfers import carry
from nuska.testing.mongodb_server import MongoServer, mongodb_server

Open = Callable[[str], Awaitable[MongoStore]]
EPOCH = 3
NUMBERS = count()
POSTERS = 3
POSTS_EACH = 15
MOVES = 4


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture
def url(shared_server: MongoServer) -> Iterator[str]:
    database = f"carrying-{next(NUMBERS)}"
    yield shared_server.url(database)
    shared_server.drop(database)


@pytest.fixture
async def store(url: str, open_at: Open) -> MongoStore:
    return await open_at(url)


@pytest.fixture
def inbox(store: MongoStore) -> Inbox:
    return Inbox(store, ManualClock())


def a_fence_before(
    monkeypatch: pytest.MonkeyPatch, method: str, store: MongoStore, ref: QueueRef, now: Moment
) -> None:
    """The next time that the writer is asked for ``method``, a fence comes first."""
    plain = getattr(Writer, method)

    async def fence_first(this: Writer, *args: Any, **keywords: Any) -> Any:
        monkeypatch.undo()
        await store.transfers.fence(ref, epoch=EPOCH, now=now)
        return await plain(this, *args, **keywords)

    monkeypatch.setattr(Writer, method, fence_first)


async def test_a_delete_that_a_fence_came_before_does_not_pass_for_one(
    store: MongoStore, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await inbox.post("one", "two")
    a_fence_before(monkeypatch, "delete_one", store, inbox.ref, inbox.now)
    with pytest.raises(QueueAway):
        await inbox.delete(ids[0])


async def test_a_delete_of_many_that_a_fence_came_before_does_not_pass_for_one(
    store: MongoStore, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await inbox.post("one", "two")
    a_fence_before(monkeypatch, "run_alone", store, inbox.ref, inbox.now)
    with pytest.raises(QueueAway):
        await store.messages.delete_many(inbox.ref, ids, now=inbox.now)


async def test_a_delete_of_many_that_a_fence_overtakes_before_its_commit_does_not_pass_for_one(
    store: MongoStore, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await inbox.post("one", "two")
    commit = writer._commit

    async def fence_first(session: Any) -> None:
        monkeypatch.undo()
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        await commit(session)

    monkeypatch.setattr(writer, "_commit", fence_first)
    with pytest.raises(QueueAway):
        await inbox.delete_many(*ids)


async def test_what_a_node_remembers_of_a_queue_does_not_lead_it_past_a_fence(
    store: MongoStore, inbox: Inbox, url: str, open_at: Open
) -> None:
    other = Inbox(await open_at(url), inbox.clock)
    ids = await other.post("one", "two", "three")
    assert await other.delete_many(ids[0])
    await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
    with pytest.raises(QueueAway):
        await other.delete_many(*ids[1:])
    assert await dump(store, inbox) == ["two", "three"]


@pytest.mark.parametrize("emptying", [Inbox.purge, Inbox.drop])
async def test_what_a_node_remembers_of_a_queue_that_another_emptied_misleads_nobody(
    store: MongoStore, inbox: Inbox, url: str, open_at: Open, emptying: Callable[[Inbox], Any]
) -> None:
    assert store
    other = Inbox(await open_at(url), inbox.clock)
    old = await other.post("one", "two")
    await other.claim(1, ttl=HOUR)
    await emptying(inbox)
    new = await inbox.post("three", "four", "five")
    assert await other.delete_many(*old, new[0])
    assert not await other.delete_many(new[1], claims=[1])
    assert await other.delete_many(*old, claims=[1])
    assert await inbox.listed() == ["four", "five"]


async def test_a_delete_by_another_primary_than_was_asked_for_a_fence_looks_again(
    store: MongoStore, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was in office no longer, perhaps, and saw no fence for that reason."""
    [posted] = await inbox.post("one")
    a_fence_before(monkeypatch, "delete_one", store, inbox.ref, inbox.now)
    with monkeypatch.context() as patches:
        patches.setattr(Seen, "is_fresh", True)
        patches.setattr(Connection, "term", lambda _: ObjectId())
        with pytest.raises(QueueAway):
            await inbox.delete(posted)


async def test_a_fence_is_finished_when_deletes_that_do_not_look_again_have_ended(
    store: MongoStore, inbox: Inbox
) -> None:
    await inbox.post("one")
    began = since_boot()
    await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
    assert since_boot() - began > RELIED_ON_FOR
    again = since_boot()
    await store.transfers.fence(inbox.ref, epoch=EPOCH + 1, now=inbox.now)
    assert since_boot() - again > RELIED_ON_FOR  # whoever set the first one may be dead


async def test_a_delete_that_a_purge_came_before_is_of_what_is_not_there(
    store: MongoStore, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await inbox.post("one", "two")
    run_alone = Writer.run_alone

    async def purge_first(this: Writer, *args: Any, **keywords: Any) -> Any:
        monkeypatch.undo()
        await inbox.purge()
        return await run_alone(this, *args, **keywords)

    monkeypatch.setattr(Writer, "run_alone", purge_first)
    await inbox.post("three")
    assert await store.messages.delete_many(inbox.ref, ids, now=inbox.now)
    assert await inbox.listed() == []


async def test_nothing_changes_behind_a_fence_that_stands(
    store: MongoStore, inbox: Inbox, url: str, open_at: Open
) -> None:
    """Posts of another node, which are in all stages of their transactions as it comes."""
    await inbox.post("first")
    other = Inbox(await open_at(url), inbox.clock)
    posted = ["first"]
    under_way = asyncio.Event()

    async def keep_posting(poster: int) -> None:
        for number in range(1000):
            try:
                await other.post(f"{poster} {number}")
            except Unavailable:
                return
            posted.append(f"{poster} {number}")
            if len(posted) > 2 * POSTERS:
                under_way.set()

    posters = [asyncio.create_task(keep_posting(number)) for number in range(POSTERS)]
    await under_way.wait()
    await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
    dumped = await dump(store, inbox)
    await asyncio.gather(*posters)
    assert await dump(store, inbox) == dumped
    assert sorted(dumped) == sorted(posted)


async def dump(store: MongoStore, inbox: Inbox) -> list[str]:
    found = await store.transfers.dump(inbox.ref, after=BEFORE_ALL, limit=9999, now=inbox.now)
    return bodies(found)


async def test_what_is_loaded_goes_in_pieces_by_number_and_by_size(
    store: MongoStore, inbox: Inbox, url: str, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carried, "AT_ONCE", 4)
    monkeypatch.setattr(carried, "BYTES_AT_ONCE", 1000)
    assert [len(one) for one in carried.pieces(range(9))] == [4, 4, 1]
    assert [len(one) for one in carried.pieces([999, 2, 5000, 1], lambda one: one)] == [1, 1, 1, 1]
    assert [list(one) for one in carried.pieces([])] == [[]]
    names = [f"{number} " + "x" * (300 * (number % 5)) for number in range(20)]
    await inbox.post(*names)
    there = await carry(inbox, await open_at(f"{url.partition('?')[0]}-there?replicaSet=nuska"))
    assert await there.listed() == names
    ids = [message.id for message in await there.all()]
    transfers = there.store.transfers  # type: ignore[attr-defined]
    await transfers.fence(there.ref, epoch=EPOCH + 9, now=there.now)
    await transfers.unload(there.ref, ids[:11], epoch=EPOCH + 9, now=there.now)
    await transfers.open(there.ref, epoch=EPOCH + 9, now=there.now)
    assert await there.listed() == names[11:]
    await store.queues.create(QueueRef("acme", "letters"), {}, now=inbox.now)
    letters = await there.all()
    for _ in range(2):
        await store.transfers.arrive(
            QueueRef("acme", "letters"), letters, source="there", now=inbox.now
        )
    assert await inbox.beside("letters").listed() == names[11:]


async def test_claims_and_posts_are_dumped_by_name_and_none_of_an_earlier_queue(
    store: MongoStore, inbox: Inbox
) -> None:
    await inbox.add("x", key="of before")
    await inbox.claim(99)
    await store.queues.delete(inbox.ref, now=inbox.now)
    keys = ["b", "a", "größe", "B", "a.b", "𝄞", "~"]
    for number, key in enumerate(keys):
        await inbox.add("x", key=key)
        await inbox.claim(50 - number, limit=1, ttl=HOUR)
    claims: list[str] = []
    posts: list[str] = []
    while page := await store.transfers.dump_claims(
        inbox.ref, after=claims[-1] if claims else "", limit=3
    ):
        claims += [lease.claim_id for lease in page]
    while found := await store.transfers.dump_posts(
        inbox.ref, after=posts[-1] if posts else "", limit=3
    ):
        posts += [post.key for post in found]
    assert claims == sorted(set(claims))
    assert len(claims) == len(keys)
    assert posts == sorted(keys)


class Nodes:
    """Nodes that keep their catalogue and two pools in databases of one server."""

    def __init__(self, server: MongoServer, open_at: Open) -> None:
        self._server = server
        self._open_at = open_at
        self._prefix = f"nodes-{next(NUMBERS)}"
        self.clock = ManualClock()
        self.opened: list[PooledStore] = []

    async def store(self, name: str) -> PoolableStore:
        return await self._open_at(self._server.url(f"{self._prefix}-{name}"))

    async def node(self) -> PooledStore:
        own = await self.store("own")
        node = pooled(own, self.store, self.clock, seeded_bytes(len(self.opened)))
        self.opened.append(node)
        return node

    async def close(self) -> None:
        for node in self.opened:
            await node.close()
        for name in ("own", "a", "b"):
            self._server.drop(f"{self._prefix}-{name}")


@pytest.fixture
async def nodes(shared_server: MongoServer, open_at: Open) -> AsyncIterator[Nodes]:
    nodes = Nodes(shared_server, open_at)
    own = await nodes.store("own")
    for name, weight in (("a", 10), ("b", 0)):
        pool = Pool(name=name, uri=name, weight=weight)
        assert await own.records.put(POOLS, name, msgspec.json.encode(pool), version=ABSENT)
    yield nodes
    await nodes.close()


@pytest.mark.slow
async def test_a_queue_that_is_moved_under_load_loses_and_doubles_nothing(nodes: Nodes) -> None:
    """The catalogue too is in MongoDB."""
    first = Inbox(await nodes.node(), nodes.clock)
    posted = await first.post("first")
    worked: list[str] = []
    posting = POSTERS

    async def post(poster: int) -> None:
        nonlocal posting
        inbox = Inbox(await nodes.node(), nodes.clock)
        for number in range(POSTS_EACH):
            posted.extend(await inbox.post(f"{poster} {number}"))
        posting -= 1

    async def work() -> None:
        inbox = Inbox(await nodes.node(), nodes.clock)
        turn = 0
        while True:
            last, turn = not posting, turn + 1
            messages = await inbox.claim(turn, limit=2, ttl=HOUR)
            if last and not messages:
                return
            for message in messages:
                await inbox.delete(message.id, claim=turn)
                worked.append(message.id)

    users = [asyncio.create_task(post(number)) for number in range(POSTERS)]
    users.append(asyncio.create_task(work()))
    mover = (await nodes.node()).mover
    for number in range(MOVES):
        assert await mover.move(first.ref, "ba"[number % 2])
    await asyncio.gather(*users)
    assert sorted(worked) == sorted(posted)
    assert await first.all() == []
