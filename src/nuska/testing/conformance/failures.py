"""What a shared store promises while its engine is killed, paused, restarted or not there.

Whatever happens, a caller hears ``Unavailable`` within ``BOUND`` seconds, or the truth; what
was acknowledged stays; what was not may have happened once, whole; and when the engine is
back the store works again, without being opened anew.

A driver's tests subclass ``FailureConformance`` and provide ``engine``; one whose server a
proxy can stand before also subclasses ``NetworkFaultConformance``
(``nuska.testing.conformance.network_faults``).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator
from typing import Any, ClassVar

import pytest

from nuska.domain.errors import Unavailable
from nuska.interfaces.storage import SharedStore, Store
from nuska.testing.conformance.inbox import Conformance, Inbox, bodies
from nuska.testing.engine import Engine
from nuska.testing.opening import Open, opening_stores

RECOVERS_WITHIN = 30.0
"""Seconds after an engine is back in which a store must work again."""
POSTERS = 8
CROWD = 100
"""More requests than a store has under way at once."""
PLENTY = 1_000_000
"""More than a load posts."""
ENOUGH = 100
"""Posts after which a load is under way."""
TRY_EVERY = 0.05


class EngineConformance(Conformance):
    """Fixtures of the parts that need an engine in their hands."""

    BOUND: ClassVar[float] = 11.0
    """Seconds after which every request has been answered, whatever the engine does."""

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine, running; it may serve many tests, each on a store of its own."""
        raise NotImplementedError("a driver's tests provide it")

    @pytest.fixture
    def url(self, engine: Engine) -> Iterator[str]:
        """Of a store that is this test's alone. Afterwards the engine runs again."""
        engine.resume()
        engine.start()
        yield engine.new_url()
        engine.resume()
        engine.start()

    @pytest.fixture
    async def open_at(self) -> AsyncIterator[Open]:
        async with opening_stores() as open_at:
            yield open_at

    @pytest.fixture
    async def store(self, url: str, open_at: Open) -> Store:
        return await open_at(url)

    async def outcome(self, doing: Awaitable[Any]) -> Any:
        """What it gave, or the ``Unavailable`` it ended with; in time, in either case."""
        began = time.monotonic()
        try:
            return await doing
        except Unavailable as unavailable:
            return unavailable
        finally:
            took = time.monotonic() - began
            assert took < self.BOUND, f"nobody was answered for {took:.1f} seconds"


class FailureConformance(EngineConformance):
    async def test_what_was_acknowledged_is_there_after_the_engine_was_killed(
        self, engine: Engine, inbox: Inbox
    ) -> None:
        load = Load(inbox, self.BOUND)
        async with load:
            await load.is_under_way()
            engine.kill()
        assert isinstance(await self.outcome(inbox.post("while it is down")), Unavailable)
        engine.start()
        await until_posted(inbox, "after")
        listed = await inbox.listed(limit=PLENTY)
        load.check(listed, besides={"while it is down", "after"})
        assert await inbox.counts() == (len(listed), 0, 0)

    async def test_claims_outlive_a_restart(self, engine: Engine, inbox: Inbox) -> None:
        await inbox.post("held", "free")
        held = await inbox.claim(1, limit=1)
        engine.restart()
        await until_posted(inbox, "after")
        claim = await inbox.held(1)
        assert claim is not None
        assert claim.messages == held
        assert bodies(await inbox.claim(2)) == ["free", "after"]

    async def test_requests_during_a_restart_are_refused_or_done_and_never_both(
        self, engine: Engine, inbox: Inbox
    ) -> None:
        load = Load(inbox, self.BOUND)
        async with load:
            await load.is_under_way()
            await asyncio.to_thread(engine.restart)
            await load.is_under_way()
        load.check(await inbox.listed(limit=PLENTY))

    async def test_a_paused_engine_is_unavailable_within_a_bound_and_then_goes_on(
        self, engine: Engine, inbox: Inbox
    ) -> None:
        await inbox.post("before")
        held = await inbox.claim(1)
        engine.pause()
        doing = (
            inbox.post("during", "during"),
            inbox.listed(),
            inbox.pop(),
            inbox.claim(2),
            inbox.renew(1),
            inbox.counts(),
            inbox.store.ping(),
            inbox.store.queues.get(inbox.ref),
        )
        outcomes = await asyncio.gather(*map(self.outcome, doing))
        engine.resume()
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        await until_posted(inbox, "after")
        claim = await inbox.held(1)
        assert claim is not None
        assert [message.id for message in claim.messages] == [message.id for message in held]
        # What was in flight may have happened, the pop too: once, and whole.
        there = bodies(await inbox.all())
        assert there.count("during") in (0, 2)
        assert there[0] == "before"

    async def test_many_requests_to_a_silent_engine_end_within_the_same_bound(
        self, engine: Engine, inbox: Inbox
    ) -> None:
        await inbox.post("before")
        engine.pause()
        assert isinstance(await self.outcome(inbox.listed()), Unavailable)
        posts = (self.outcome(inbox.post(f"during {n}")) for n in range(CROWD))
        outcomes = await asyncio.gather(*posts)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        engine.resume()
        await until_posted(inbox, "after")
        listed = await inbox.listed()
        assert len(listed) == len(set(listed))
        # What was given up may still come about, and even after what was posted next.
        assert listed[0] == "before"
        assert "after" in listed

    async def test_a_pause_that_ends_in_time_is_not_noticed(
        self, engine: Engine, inbox: Inbox
    ) -> None:
        await inbox.post("before")
        engine.pause()
        posting = asyncio.create_task(inbox.post("during"))
        await asyncio.sleep(0.5)
        engine.resume()
        await posting
        assert await inbox.listed() == ["before", "during"]

    async def test_callers_who_give_up_disturb_nobody(self, inbox: Inbox) -> None:
        await inbox.post("before")
        gone = [asyncio.create_task(inbox.post(f"gone {n}")) for n in range(20)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        ids = await asyncio.gather(*(inbox.post(f"stays {n}") for n in range(20)))
        await asyncio.gather(*gone, return_exceptions=True)
        for number, [message_id] in enumerate(ids):
            assert bodies(await inbox.get(message_id)) == [f"stays {number}"]

    async def test_a_store_whose_engine_is_not_there_is_not_opened(
        self, engine: Engine, url: str, open_at: Open
    ) -> None:
        engine.stop()
        assert isinstance(await self.outcome(open_at(url)), Unavailable)

    async def test_a_store_whose_engine_is_silent_is_not_opened(
        self, engine: Engine, url: str, open_at: Open
    ) -> None:
        engine.pause()
        assert isinstance(await self.outcome(open_at(url)), Unavailable)

    async def test_a_store_can_be_closed_while_its_engine_is_silent(
        self, engine: Engine, store: Store
    ) -> None:
        engine.pause()
        async with asyncio.timeout(2 * self.BOUND):  # what is under way, and a farewell
            await store.close()


class LostHintConformance(EngineConformance):
    """For a ``SharedStore``."""

    async def test_whoever_listens_hears_that_hints_were_lost_and_then_hears_again(
        self, engine: Engine, url: str, store: Store, inbox: Inbox, open_at: Open
    ) -> None:
        assert isinstance(store, SharedStore)
        heard: asyncio.Queue[object] = asyncio.Queue()
        listening = asyncio.create_task(store.hear_others(lambda ref, _: heard.put_nowait(ref)))
        other = await open_at(url)
        assert isinstance(other, SharedStore)
        try:
            async with asyncio.timeout(RECOVERS_WITHIN):
                await told(other, inbox, heard)
            engine.restart()
            while not heard.empty():
                heard.get_nowait()
            async with asyncio.timeout(RECOVERS_WITHIN):
                while await heard.get() is not None:
                    pass
                await told(other, inbox, heard)
        finally:
            listening.cancel()
            await asyncio.wait([listening])


class Load:
    """Posters that go on whatever they are told, and note it. Runs while it is a context."""

    def __init__(self, inbox: Inbox, bound: float) -> None:
        self._inbox = inbox
        self._bound = bound
        self._tasks: list[asyncio.Task[None]] = []
        self._more = asyncio.Condition()
        self._ended = False
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.longest = 0.0

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._post_on(n)) for n in range(POSTERS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await asyncio.gather(*self._tasks)

    async def _post_on(self, name: int) -> None:
        number = 0
        while not self._ended:
            number += 1
            body = f"{name}:{number}"
            began = time.monotonic()
            try:
                await self._inbox.post(body)
            except Unavailable:
                self.unknown.append(body)
                await asyncio.sleep(TRY_EVERY)
                continue
            finally:
                self.longest = max(self.longest, time.monotonic() - began)
            self.acknowledged.append(body)
            async with self._more:
                self._more.notify_all()

    async def is_under_way(self, posts: int = ENOUGH) -> None:
        """Until so many more were acknowledged."""
        goal = len(self.acknowledged) + posts
        async with asyncio.timeout(RECOVERS_WITHIN), self._more:
            await self._more.wait_for(lambda: len(self.acknowledged) >= goal)

    def check(self, listed: list[str], *, besides: Collection[str] = ()) -> None:
        """Nothing acknowledged is missing, nothing is there twice, nothing from nowhere."""
        assert self.longest < self._bound + TRY_EVERY
        assert len(listed) == len(set(listed)), "a post was stored twice"
        lost = set(self.acknowledged) - set(listed)
        assert not lost, f"{len(lost)} acknowledged messages are gone"
        assert set(listed) <= {*self.acknowledged, *self.unknown, *besides}


async def told(speaker: SharedStore, inbox: Inbox, heard: asyncio.Queue[object]) -> None:
    """Until what one node tells has been heard: hints may be lost, so it says it again."""
    while True:
        speaker.tell(inbox.ref, 1)
        try:
            async with asyncio.timeout(TRY_EVERY * 4):
                if await heard.get() == inbox.ref:
                    return
        except TimeoutError:
            continue


async def until_posted(inbox: Inbox, body: str) -> None:
    """Post until it succeeds; refusals on the way are clear ones.

    Each may have been carried out all the same (I7). The key sees to it that the post is there
    once however often it was repeated, so that whoever asks may list it.
    """
    deadline = time.monotonic() + RECOVERS_WITHIN
    while True:
        try:
            await inbox.add(body, key=f"until posted: {body}")
        except Unavailable:
            assert time.monotonic() < deadline, "the store does not recover by itself"
            await asyncio.sleep(TRY_EVERY)
        else:
            return
