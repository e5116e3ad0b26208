"""A replica set of three whose primary steps down, dies or stands still under load."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import Durability, SharedStore, Store
from nuska.stores.mongodb.connection import ANSWER_WITHIN
from nuska.testing.clock import ManualClock
from nuska.testing.conformance import (
    AnnouncementConformance,
    CarriedLogConformance,
    SharedLogConformance,
)
from nuska.testing.conformance.announcements import log_of
from nuska.testing.conformance.failures import PLENTY, RECOVERS_WITHIN, Load, told, until_posted
from nuska.testing.conformance.inbox import Inbox
from nuska.testing.mongodb_set import ELECTION_TIMEOUT_MS, MongoSet, mongodb_set
from nuska.testing.opening import Open, opening_stores

# A client that is closed while it connects leaves its socket to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

BOUND = 2 * ANSWER_WITHIN + 1
"""Seconds in which everybody is answered: those that waited, and their turn."""


@pytest.fixture(scope="module")
def replica_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoSet]:
    with mongodb_set(tmp_path_factory.mktemp("set")) as servers:
        yield servers


@pytest.fixture
def url(replica_set: MongoSet) -> Iterator[str]:
    replica_set.mend()
    yield replica_set.new_url()
    replica_set.mend()


@pytest.fixture
async def open_at() -> AsyncIterator[Open]:
    async with opening_stores() as open_at:
        yield open_at


@pytest.fixture
async def store(url: str, open_at: Open) -> Store:
    return await open_at(url)


@pytest.fixture
def inbox(store: Store) -> Inbox:
    return Inbox(store, ManualClock())


def step_down(servers: MongoSet) -> None:
    servers.primary().ask("replSetStepDown", 10, secondaryCatchUpPeriodSecs=5)


def kill(servers: MongoSet) -> None:
    servers.primary().kill()


def pause(servers: MongoSet) -> None:
    servers.primary().pause()


class TestFailover:
    SETUP = "mongodb replica set"

    @pytest.mark.parametrize("failing", [step_down, kill, pause])
    async def test_another_primary_takes_over_and_nothing_acknowledged_is_lost(
        self, replica_set: MongoSet, inbox: Inbox, failing: object
    ) -> None:
        assert callable(failing)
        await inbox.beside("held").post("held")
        held = await inbox.beside("held").claim(1)
        log = log_of(inbox)
        await log.open()
        before = replica_set.primary()
        load = Load(inbox, BOUND)
        async with load:
            await load.is_under_way()
            await asyncio.to_thread(failing, replica_set)
            await load.is_under_way()  # on another primary: nobody mended anything
        assert not before.leads() or failing is step_down
        await asyncio.to_thread(replica_set.mend)
        await until_posted(inbox, "after")
        listed = await inbox.listed(limit=PLENTY)
        load.check(listed, besides={"after"})
        assert await log.bodies(limit=PLENTY) == listed
        claim = await inbox.beside("held").held(1)
        assert claim is not None
        assert claim.messages == held

    async def test_without_a_majority_nothing_is_acknowledged_and_with_it_all_goes_on(
        self, replica_set: MongoSet, inbox: Inbox
    ) -> None:
        await inbox.post("before")
        load = Load(inbox, BOUND)
        async with load:
            await load.is_under_way()
            for member in replica_set.secondaries():
                member.kill()
            async with asyncio.timeout(BOUND):
                while not load.unknown:  # noqa: ASYNC110  it is only counted
                    await asyncio.sleep(0.05)
            known = len(load.acknowledged)
            await asyncio.sleep(ELECTION_TIMEOUT_MS / 1000)
            assert len(load.acknowledged) == known
            await asyncio.to_thread(replica_set.mend)
            await load.is_under_way()
        load.check(await inbox.listed(limit=PLENTY), besides={"before"})

    async def test_a_repeated_post_is_not_acknowledged_before_a_majority_has_the_first_one(
        self, replica_set: MongoSet, inbox: Inbox
    ) -> None:
        replica_set.allow_silence(60_000)  # the primary stays, and can write to itself
        try:
            await inbox.post("before")
            others = replica_set.secondaries()
            for member in others:
                member.pause()
            for _ in range(2):  # the second one finds what the first one wrote
                with pytest.raises(Unavailable):
                    await inbox.add("once", key="k")
            for member in others:
                member.resume()
            async with asyncio.timeout(RECOVERS_WITHIN):
                while True:
                    try:
                        added = await inbox.add("once", key="k")
                        break
                    except Unavailable:
                        continue
            assert added.replayed
            assert await inbox.listed() == ["before", "once"]
        finally:
            replica_set.mend()
            replica_set.allow_silence(ELECTION_TIMEOUT_MS)

    async def test_nodes_hear_each_other_again_after_another_primary_took_over(
        self, replica_set: MongoSet, url: str, store: Store, inbox: Inbox, open_at: Open
    ) -> None:
        other = await open_at(url)
        assert isinstance(store, SharedStore)
        assert isinstance(other, SharedStore)
        heard: asyncio.Queue[object] = asyncio.Queue()
        listening = asyncio.create_task(store.hear_others(lambda ref, _: heard.put_nowait(ref)))
        try:
            async with asyncio.timeout(RECOVERS_WITHIN):
                await told(other, inbox, heard)
            await asyncio.to_thread(step_down, replica_set)
            while not heard.empty():
                heard.get_nowait()
            async with asyncio.timeout(RECOVERS_WITHIN):
                await told(other, inbox, heard)
        finally:
            listening.cancel()
            await asyncio.wait([listening])

    async def test_time_goes_on_when_another_primary_took_over(
        self, replica_set: MongoSet, store: Store, inbox: Inbox
    ) -> None:
        assert isinstance(store, SharedStore)
        before = await store.time()
        await asyncio.to_thread(kill, replica_set)
        await until_posted(inbox, "somebody leads")
        after = await store.time()
        assert before < after < before + (RECOVERS_WITHIN + BOUND) * 1000

    async def test_a_majority_that_is_demanded_is_kept_and_its_number_said(
        self, url: str, open_at: Open
    ) -> None:
        store = await open_at(url, required=Durability.MAJORITY)
        assert store.capabilities.durability is Durability.MAJORITY
        assert "2 of 3" in store.durability

    async def test_a_url_that_asks_for_less_than_is_demanded_is_refused(
        self, replica_set: MongoSet, url: str, open_at: Open
    ) -> None:
        with pytest.raises(Unavailable, match=r"says w=1.*leave it out"):
            await open_at(replica_set.new_url("w=1"), required=Durability.MAJORITY)


class TestLogsOnThree(AnnouncementConformance, CarriedLogConformance, SharedLogConformance):
    """What is read comes from what a majority has, also right after it was written."""

    SETUP = "mongodb replica set"

    @pytest.fixture
    def url(self, replica_set: MongoSet) -> str:
        replica_set.mend()
        return replica_set.new_url()

    @pytest.fixture
    async def store(self, url: str, open_at: Open) -> Store:
        return await open_at(url)

    @pytest.fixture
    def inbox(self, store: Store, clock: ManualClock) -> Inbox:
        return Inbox(store, clock)
