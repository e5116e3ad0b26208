"""Announcement logs of queues that are carried from store to store, and of fenced ones."""

from collections.abc import AsyncIterator

import pytest

from nuska.domain.errors import QueueAway
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.announcing import AnnouncingStore
from nuska.interfaces.pooling import PoolableStore
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import Conformance, Inbox, sweep_all

EPOCH = 5
DUMPED_AT_ONCE = 2


async def carry(source: Inbox, here: PoolableStore, there: PoolableStore, epoch: int) -> Inbox:
    """The queue and its log as they are after they were carried to ``there``."""
    ref, now = source.ref, source.now
    await here.transfers.fence(ref, epoch=epoch, now=now)
    outline = await here.transfers.outline(ref)
    assert outline is not None
    await there.transfers.begin(ref, outline, epoch=epoch, now=now)
    messages = await here.transfers.dump(ref, after=BEFORE_ALL, limit=1000, now=now)
    await there.transfers.load(ref, messages=messages, epoch=epoch, now=now)
    position = BEFORE_ALL
    while log := await here.transfers.dump_log(ref, after=position, limit=DUMPED_AT_ONCE, now=now):
        for _ in range(2):  # who carries may have died before it wrote down how far it was
            await there.transfers.load(ref, log=log, epoch=epoch, now=now)
        position = log[-1].position
    await there.transfers.open(ref, epoch=epoch, now=now)
    return source.after_reopening(there)


class CarriedLogConformance(Conformance):
    @pytest.fixture
    async def elsewhere(self, clock: ManualClock) -> AsyncIterator[MemoryStore]:
        store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes(7))
        yield store
        await store.close()

    async def test_a_fenced_log_answers_nobody(
        self, store: PoolableStore, log_store: AnnouncingStore, inbox: Inbox
    ) -> None:
        log = Log(log_store, inbox)
        opened = await log.open()
        await inbox.post("a")
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        with pytest.raises(QueueAway):
            await log.open()
        with pytest.raises(QueueAway):
            await log.state()
        with pytest.raises(QueueAway):
            await log.all()
        with pytest.raises(QueueAway):
            await log.trim(opened.last)
        with pytest.raises(QueueAway):
            await log.close(opened.version)
        await store.transfers.open(inbox.ref, epoch=EPOCH, now=inbox.now)
        assert await log.bodies() == ["a"]

    @pytest.fixture
    def log_store(self, store: AnnouncingStore) -> AnnouncingStore:
        return store

    async def test_a_log_is_carried_out_with_its_queue(
        self, store: PoolableStore, log_store: AnnouncingStore, elsewhere: MemoryStore, inbox: Inbox
    ) -> None:
        await self._carried(store, elsewhere, log_store, elsewhere, inbox)

    async def test_a_log_is_carried_in_with_its_queue(
        self, store: PoolableStore, log_store: AnnouncingStore, elsewhere: MemoryStore, inbox: Inbox
    ) -> None:
        inbox = inbox.after_reopening(elsewhere)
        await self._carried(elsewhere, store, elsewhere, log_store, inbox)

    async def _carried(
        self,
        here: PoolableStore,
        there: PoolableStore,
        here_logs: AnnouncingStore,
        there_logs: AnnouncingStore,
        inbox: Inbox,
    ) -> None:
        log = Log(here_logs, inbox)
        await inbox.post("unheard")
        await log.open()
        await inbox.post("a", "b", "c", "d", "e")
        before = await log.all()
        taken = await inbox.pop(3)
        assert len(taken) == 3
        carried = await carry(inbox, here, there, EPOCH)
        log = Log(there_logs, carried)
        assert await log.all() == before
        await carried.post("f")
        assert await log.bodies() == ["a", "b", "c", "d", "e", "f"]
        await sweep_all(there, carried.clock)
        assert await log.bodies(after=before[-1].position) == ["f"]

    async def test_a_log_that_is_not_open_is_not_carried(
        self, store: PoolableStore, log_store: AnnouncingStore, elsewhere: MemoryStore, inbox: Inbox
    ) -> None:
        stale = Log(log_store, inbox)
        await stale.open()
        await inbox.post("of before")
        other = inbox.after_reopening(elsewhere)
        await other.post("a")
        carried = await carry(other, elsewhere, store, EPOCH)
        assert await Log(log_store, carried).state() is None
        await carried.post("b")
        assert await Log(log_store, carried).bodies() == []
        assert await carried.listed() == ["a", "b"]

    async def test_a_forgotten_queue_leaves_no_log_behind(
        self, store: PoolableStore, log_store: AnnouncingStore, inbox: Inbox
    ) -> None:
        log = Log(log_store, inbox)
        await log.open()
        await inbox.post("a")
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        await store.transfers.forget(inbox.ref, epoch=EPOCH, now=inbox.now)
        await inbox.post("b")
        assert await log.state() is None
        assert await log.bodies() == []

    async def test_amending_follows_whether_the_log_is_open(
        self, store: PoolableStore, elsewhere: MemoryStore, inbox: Inbox
    ) -> None:
        other = inbox.after_reopening(elsewhere)
        log = Log(elsewhere, other)
        await other.post("x")
        closed = await elsewhere.transfers.outline(other.ref)
        opened = await log.open()
        await other.post("y")
        logged = await elsewhere.transfers.outline(other.ref)
        assert closed is not None
        assert logged is not None
        assert (closed.logged, logged.logged) == (False, True)
        announced = await log.all()
        assert await log.close(opened.version)
        now = other.now
        await store.transfers.begin(other.ref, closed, epoch=EPOCH, now=now)
        for outline, kept in ((logged, announced), (closed, []), (logged, [])):
            await store.transfers.amend(other.ref, outline, epoch=EPOCH, now=now)
            if outline is logged and kept:
                await store.transfers.load(other.ref, log=announced, epoch=EPOCH, now=now)
            seen = await store.transfers.outline(other.ref)
            assert seen is not None
            assert seen.logged is outline.logged
            dumped = await store.transfers.dump_log(other.ref, after=BEFORE_ALL, limit=9, now=now)
            assert dumped == kept
