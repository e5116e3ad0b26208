"""Nodes over one catalogue and its pools, all in memory, that can die at any step."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from nuska.domain.claims import Claimed
from nuska.domain.errors import Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.pools import Pool
from nuska.domain.positions import claim_id
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.stores.memory.store import MemoryStore
from nuska.stores.pooled import PooledStore, pooled
from nuska.stores.pooled.catalogue import POOLS
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import Inbox

INBOX = QueueRef("acme", "inbox")
FACETS = ("records", "transfers", "queues", "messages", "claims", "announcements")


class Death(BaseException):
    """The node is gone: nothing it does has an effect any more."""


class Steps:
    """Counts the calls a node makes to its stores, and ends it at one of them."""

    def __init__(self) -> None:
        self.taken = 0
        self.last: int | None = None
        """The call it dies at; None: it lives."""
        self.done_first = False
        """Whether that call is still carried out."""

    async def take(self, call: Callable[[], Awaitable[Any]]) -> Any:
        self.taken += 1
        if self.last is None or self.taken < self.last:
            return await call()
        if self.taken == self.last and self.done_first:
            await call()
        raise Death


class Mortal:
    """One facet of a store as a node that may die calls it."""

    def __init__(self, facet: object, steps: Steps) -> None:
        self._facet = facet
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._facet, name)

        async def call(*args: Any, **keywords: Any) -> Any:
            return await self._steps.take(lambda: method(*args, **keywords))

        return call


class MortalStore:
    """A store as a node that may die uses it. Closing it closes nothing."""

    def __init__(self, store: MemoryStore, steps: Steps) -> None:
        self._store = store
        for facet in FACETS:
            setattr(self, facet, Mortal(getattr(store, facet), steps))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def close(self) -> None:
        pass


class Cluster:
    """The stores, and nodes over them."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stores: dict[str, MemoryStore] = {}

    def store(self, uri: str) -> MemoryStore:
        if uri not in self.stores:
            number = len(self.stores)
            self.stores[uri] = MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes(number))
        return self.stores[uri]

    async def add_pool(self, name: str, *, weight: int = 10, flavor: str | None = None) -> None:
        pool = Pool(name=name, uri=name, weight=weight, flavor=flavor)
        records = self.store("own").records
        await records.put(POOLS, name, msgspec.json.encode(pool), version=ABSENT)

    def node(self, steps: Steps | None = None) -> PooledStore:
        steps = steps or Steps()

        async def open_store(uri: str) -> PoolableStore:
            return MortalStore(self.store(uri), steps)  # type: ignore[return-value]

        own: Any = MortalStore(self.store("own"), steps)
        return pooled(own, open_store, self.clock, seeded_bytes(99))

    def inbox(self, node: PooledStore, name: str = "inbox") -> Inbox:
        return Inbox(node, self.clock, name)

    async def where(self, name: str = "inbox") -> list[str]:
        """The stores in which the queue is open."""
        found = []
        for uri, store in self.stores.items():
            outline = await store.transfers.outline(QueueRef("acme", name))
            if outline is not None and not outline.fenced:
                found.append(uri)
        return found


class Load:
    """Posters and workers, each at a node of its own, and what they were told; and somebody
    who listens."""

    def __init__(self, cluster: Any, posters: int, workers: int, posts_each: int) -> None:
        self.cluster = cluster
        self.posters = posters
        self.workers = workers
        self.posts_each = posts_each
        self.posted: list[str] = []
        self.worked: list[tuple[str, int]] = []
        self.unknown: set[str] = set()
        self.posting = posters

    async def last_through(self, moves: int) -> None:
        """Post and work while the queue moves between the pools ``b`` and ``a``."""
        inbox = self.cluster.inbox(self.cluster.node())
        await Log(inbox.store, inbox).open()
        await inbox.post("first")
        mover = self.cluster.node().mover
        users = [asyncio.create_task(self.post(number)) for number in range(self.posters)]
        users += [asyncio.create_task(self.work(number)) for number in range(self.workers)]
        try:
            for number in range(moves):
                assert await mover.move(INBOX, "ba"[number % 2])
                await asyncio.sleep(0.005)
            await asyncio.gather(*users)
        finally:
            for user in users:
                user.cancel()

    async def check(self) -> None:
        """Everything was worked on once, in the order in which each poster posted it, and
        stands so in the log."""
        worked = [body for body, _ in self.worked]
        assert not self.unknown
        assert sorted(worked) == sorted([*self.posted, '"first"'])
        for poster in range(self.posters):
            mine = sorted(
                (position, body) for body, position in self.worked if body.startswith(f'"{poster}-')
            )
            assert [body for _, body in mine] == sorted(body for _, body in mine)
        inbox = self.cluster.inbox(self.cluster.node())
        assert await inbox.all() == []
        announced = await Log(inbox.store, inbox).all()
        assert [message.position for message in announced] == sorted(at for _, at in self.worked)
        heard = {message.position: message.body.decode() for message in announced}
        assert heard == {position: body for body, position in self.worked}

    async def post(self, poster: int) -> None:
        node = self.cluster.node()
        for number in range(self.posts_each):
            body = f'"{poster}-{number:03}"'
            try:
                added = await node.messages.add(
                    INBOX,
                    [NewMessage(body=body.encode(), ttl=seconds(3600))],
                    now=self.cluster.clock.now(),
                )
            except Unavailable:
                self.unknown.add(body)
            else:
                self.posted.append(body)
                assert len(added.ids) == 1
            await asyncio.sleep(0.001)
        self.posting -= 1

    async def work(self, worker: int) -> None:
        node = self.cluster.node()
        turn = 0
        while True:
            turn += 1
            claim = claim_id((worker * 1_000_000 + turn).to_bytes(12))
            now = self.cluster.clock.now()
            finished = not self.posting
            try:
                claimed: Claimed = await node.claims.create(
                    INBOX, claim_id=claim, limit=2, ttl=seconds(60), grace=seconds(60), now=now
                )
            except Unavailable:
                continue
            if finished and not claimed.messages:
                return
            for message in claimed.messages:
                await node.messages.delete(INBOX, message.id, claim_id=claim, now=now)
                self.worked.append((message.body.decode(), message.position))
            await asyncio.sleep(0.001)


@pytest.fixture
def load_on() -> type[Load]:
    return Load


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def dying() -> type[Steps]:
    return Steps


@pytest.fixture
def death() -> type[Death]:
    return Death
