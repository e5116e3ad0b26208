"""Who waits for whom about an announcement log, and who need not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.stores.sql.announcing import SqlAnnouncements
from nuska.stores.sql.database import Database, T, Work
from nuska.stores.sql.queues import SqlQueues
from nuska.stores.sql.store import SqlStore
from nuska.stores.sql.url import parse
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import Inbox

Waits = Callable[[], Awaitable[None]]


class HeldUp(Database):
    """Does what is written, and commits it when it is told to."""

    def __init__(self, url: str) -> None:
        super().__init__(parse(url))
        self.done = asyncio.Event()
        self.go_on = asyncio.Event()

    async def write(self, work: Work[T]) -> T:
        async def held_up(connection: AsyncConnection) -> T:
            answer = await work(connection)
            self.done.set()
            await self.go_on.wait()
            return answer

        return await super().write(held_up)


class Elsewhere:
    """The queue on a node whose writes are held up."""

    def __init__(self, url: str, inbox: Inbox) -> None:
        self.database = HeldUp(url)
        self._inbox = inbox
        self._queues = SqlQueues(self.database)
        self._logs = SqlAnnouncements(self.database)

    async def create(self) -> None:
        assert await self._queues.create(self._inbox.ref, {}, now=self._inbox.now)

    async def purge(self) -> None:
        await self._queues.purge(self._inbox.ref, now=self._inbox.now)

    async def drop(self) -> None:
        await self._queues.delete(self._inbox.ref, now=self._inbox.now)

    async def open(self) -> None:
        await self._logs.open(self._inbox.ref, now=self._inbox.now)

    async def close(self) -> None:
        seen = await self._logs.state(self._inbox.ref, now=self._inbox.now)
        assert seen is not None
        assert await self._logs.close(self._inbox.ref, version=seen.version, now=self._inbox.now)

    async def trim(self) -> None:
        [*_, last] = await self._logs.page(self._inbox.ref, after=0, limit=99, now=self._inbox.now)
        await self._logs.trim(self._inbox.ref, through=last.position, now=self._inbox.now)

    @asynccontextmanager
    async def under_way(self, doing: Callable[["Elsewhere"], Awaitable[None]]):
        """While it has been done and not committed."""
        task = asyncio.ensure_future(doing(self))
        await self.database.done.wait()
        yield
        self.database.go_on.set()
        await task


@pytest.fixture
def inbox(store: SqlStore, clock: ManualClock) -> Inbox:
    return Inbox(store, clock)


@pytest.fixture
def log(store: SqlStore, inbox: Inbox) -> Log:
    return Log(store, inbox)


@pytest.fixture
async def elsewhere(url: str, inbox: Inbox) -> AsyncIterator[Elsewhere]:
    elsewhere = Elsewhere(url, inbox)
    yield elsewhere
    await elsewhere.database.close()


async def test_a_log_that_is_opened_while_its_queue_is_being_made_hears_what_is_posted(
    elsewhere: Elsewhere, log: Log, inbox: Inbox, somebody_waits: Waits
) -> None:
    async with elsewhere.under_way(Elsewhere.create):
        opening = asyncio.create_task(log.open())
        await somebody_waits()
        assert not opening.done()
    await opening
    await inbox.post("heard")
    assert await log.bodies() == ["heard"]


async def test_a_queue_that_is_made_while_its_log_is_being_opened_is_heard(
    elsewhere: Elsewhere, log: Log, inbox: Inbox, somebody_waits: Waits
) -> None:
    async with elsewhere.under_way(Elsewhere.open):
        posting = asyncio.create_task(inbox.post("heard"))
        await somebody_waits()
        assert not posting.done()
    await posting
    assert await log.bodies() == ["heard"]


async def test_a_queue_that_is_made_while_its_log_is_being_closed_is_not_heard(
    elsewhere: Elsewhere, log: Log, inbox: Inbox, somebody_waits: Waits
) -> None:
    await log.open()
    async with elsewhere.under_way(Elsewhere.close):
        posting = asyncio.create_task(inbox.post("unheard"))
        await somebody_waits()
    await posting
    await log.open()
    assert await log.bodies() == []
    await inbox.post("heard")
    assert await log.bodies() == ["heard"]


async def test_two_who_open_the_log_of_no_queue_leave_one_that_the_second_may_close(
    elsewhere: Elsewhere, log: Log, somebody_waits: Waits
) -> None:
    async with elsewhere.under_way(Elsewhere.open):
        opening = asyncio.create_task(log.open())
        await somebody_waits()
    opened = await opening
    assert await log.state() == opened
    assert await log.close(opened.version)
    assert await log.state() is None


@pytest.mark.parametrize("key", [None, "k"], ids=["usual", "remembered"])
async def test_a_post_that_waits_for_an_opening_is_heard(
    elsewhere: Elsewhere, log: Log, inbox: Inbox, somebody_waits: Waits, key: str | None
) -> None:
    await inbox.post("before")
    async with elsewhere.under_way(Elsewhere.open):
        posting = asyncio.create_task(inbox.add("heard", key=key))
        await somebody_waits()
        assert not posting.done()
    await posting
    assert await log.bodies() == ["heard"]


@pytest.mark.parametrize("emptying", [Elsewhere.purge, Elsewhere.drop])
@pytest.mark.parametrize("key", [None, "k"], ids=["usual", "remembered"])
async def test_a_post_that_waits_for_a_purge_or_deletion_is_heard_after_it(
    elsewhere: Elsewhere,
    log: Log,
    inbox: Inbox,
    somebody_waits: Waits,
    emptying: Callable[[Elsewhere], Awaitable[None]],
    key: str | None,
) -> None:
    await log.open()
    await inbox.post("before")
    async with elsewhere.under_way(emptying):
        posting = asyncio.create_task(inbox.add("after", key=key))
        await somebody_waits()
        assert not posting.done()
    await posting
    assert await log.bodies() == await inbox.listed() == ["after"]


async def test_neither_posts_nor_claims_nor_readers_wait_for_a_trim(
    elsewhere: Elsewhere, log: Log, inbox: Inbox
) -> None:
    await log.open()
    await inbox.post("trimmed")
    async with elsewhere.under_way(Elsewhere.trim), asyncio.timeout(2):
        await inbox.post("kept")
        assert len(await inbox.claim(limit=2)) == 2
        assert await log.bodies() == ["trimmed", "kept"]
        assert await log.state() is not None
    assert await log.bodies() == ["kept"]


async def test_claims_and_readers_do_not_wait_for_an_opening(
    elsewhere: Elsewhere, log: Log, inbox: Inbox
) -> None:
    await inbox.post("here")
    async with elsewhere.under_way(Elsewhere.open), asyncio.timeout(2):
        assert len(await inbox.claim(limit=1)) == 1
        assert await log.state() is None
    assert await log.state() is not None


async def test_a_fence_waits_for_a_trim(
    elsewhere: Elsewhere, log: Log, inbox: Inbox, somebody_waits: Waits
) -> None:
    await log.open()
    await inbox.post("trimmed")
    async with elsewhere.under_way(Elsewhere.trim):
        transfers = inbox.store.transfers
        fencing = asyncio.create_task(transfers.fence(inbox.ref, epoch=1, now=inbox.now))
        await somebody_waits()
        assert not fencing.done()
    await fencing
    assert await transfers.dump_log(inbox.ref, after=0, limit=9, now=inbox.now) == []
