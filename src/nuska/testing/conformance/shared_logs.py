"""Announcement logs of queues that several nodes use at once (D9, D12).

A driver's tests provide ``url`` beside ``store``, as for ``ByUrlConformance``; ``there`` is the
same store as another node has it open.
"""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from nuska.domain.errors import QueueAway
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.announcing import AnnouncingStore
from nuska.interfaces.pooling import PoolableStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import PLENTY, Conformance, Inbox, bodies, sweep_all
from nuska.testing.opening import opening_stores

EPOCH = 5
TURNS = 3
POSTERS_EACH = 2
POSTS_EACH = 6
PARTS = "abc"
"""Messages of one post."""
READ_AT_ONCE = 4
EVERYTHING = 100_000
UNDER_WAY_WITHIN = 30.0
"""Seconds; generous."""


class SharedLogConformance(Conformance):
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError("a driver's tests provide it")

    @pytest.fixture
    async def there(
        self, store: AnnouncingStore, url: str, clock: ManualClock, inbox: Inbox
    ) -> AsyncIterator[Inbox]:
        """The inbox on another node."""
        assert store
        async with opening_stores() as open_at:
            yield inbox.after_reopening(await open_at(url, now=clock.now()))

    @pytest.fixture
    def log(self, store: AnnouncingStore, inbox: Inbox) -> Log:
        return Log(store, inbox)

    @pytest.fixture
    def log_there(self, there: Inbox) -> Log:
        assert isinstance(there.store, AnnouncingStore)
        return Log(there.store, there)

    async def test_a_post_on_one_node_sees_that_another_has_opened_the_log_or_closed_it(
        self, log: Log, log_there: Log, inbox: Inbox, there: Inbox
    ) -> None:
        """Whatever a node remembers of the queue."""
        for turn in range(TURNS):
            await there.post(f"unheard {turn}")
            opened = await log.open()
            await there.post(f"heard {turn}")
            await inbox.post(f"heard here {turn}")
            assert await log.bodies() == [f"heard {turn}", f"heard here {turn}"]
            assert await log_there.all() == await log.all()
            assert await log_there.state() == await log.state()
            assert await log_there.close(opened.version)
            assert await log.state() is None
            await inbox.post(f"unheard here {turn}")
            assert await log.bodies() == await log_there.bodies() == []

    async def test_posts_on_several_nodes_are_announced_in_the_order_of_the_queue(
        self, log: Log, inbox: Inbox, there: Inbox
    ) -> None:
        await log.open()
        await post_from(inbox, there)
        assert await log.bodies(limit=PLENTY) == await inbox.listed(limit=PLENTY)

    async def test_what_is_posted_after_the_last_opening_is_announced_and_no_post_in_part(
        self, log: Log, log_there: Log, inbox: Inbox, there: Inbox
    ) -> None:
        async def listen(first: Log, second: Log) -> None:
            for _ in range(TURNS):
                await second.close((await first.open()).version)

        await asyncio.gather(
            listen(log, log_there), listen(log_there, log), post_from(inbox, there)
        )
        opened = await log.open()
        before = await log.bodies(limit=PLENTY)
        assert len(before) == len(PARTS) * len({body.rpartition(" ")[0] for body in before})
        await post_from(there, inbox, "later ")
        later = await log_there.bodies(after=opened.last, limit=PLENTY)
        assert len(later) == 2 * POSTERS_EACH * POSTS_EACH * len(PARTS)
        assert await log.bodies(limit=PLENTY) == before + later

    async def test_a_log_that_one_node_closes_while_another_opens_it_is_open_afterwards(
        self, log: Log, log_there: Log, inbox: Inbox
    ) -> None:
        for turn in range(TURNS):
            seen = await log.open()
            _, again = await asyncio.gather(log.close(seen.version), log_there.open())
            await inbox.post(f"{turn}")
            assert (await log_there.bodies())[-1] == f"{turn}"
            assert not await log.close(seen.version)
            state = await log.state()
            assert state is not None
            assert state.version == again.version

    async def test_a_post_that_several_nodes_repeat_at_once_is_announced_once(
        self, log: Log, inbox: Inbox, there: Inbox
    ) -> None:
        await log.open()
        for turn in range(TURNS):
            repeated = (node.add(f"{turn}", key=f"{turn}") for node in (inbox, there, inbox, there))
            await asyncio.gather(*repeated)
        assert await log.bodies() == [f"{turn}" for turn in range(TURNS)]

    @pytest.mark.parametrize("emptying", [Inbox.purge, Inbox.drop])
    async def test_a_purge_or_deletion_beside_posts_empties_log_and_queue_in_one_step(
        self, store: AnnouncingStore, log: Log, inbox: Inbox, there: Inbox, emptying: object
    ) -> None:
        assert callable(emptying)
        await log.open()
        posting = asyncio.create_task(post_from(inbox, there))
        for _ in range(TURNS):
            await emptying(inbox)
            await emptying(there)
        await posting
        assert await log.bodies(limit=PLENTY) == await inbox.listed(limit=PLENTY)
        await sweep_all(store, inbox.clock)
        await post_from(there, inbox, "later ")
        left = await log.bodies(limit=PLENTY)
        assert left == await inbox.listed(limit=PLENTY)
        later = [body for body in left if body.startswith("later ")]
        assert len(later) == 2 * POSTERS_EACH * POSTS_EACH * len(PARTS)

    async def test_who_follows_the_log_and_trims_it_misses_nothing_that_others_post(
        self, log: Log, log_there: Log, inbox: Inbox, there: Inbox
    ) -> None:
        await log.open()
        posting = asyncio.create_task(post_from(inbox, there))
        read: list[str] = []
        position = BEFORE_ALL
        while True:
            last = posting.done()
            page = await log_there.all(after=position, limit=READ_AT_ONCE)
            read += bodies(page)
            if page:
                position = page[-1].position
                await log_there.trim(position)
            elif last:
                break
        await posting
        assert read == await inbox.listed(limit=PLENTY)
        assert await log.bodies() == []

    async def test_a_fence_beside_posts_leaves_log_and_queue_alike_and_both_as_they_are(
        self, store: PoolableStore, log: Log, inbox: Inbox, there: Inbox
    ) -> None:
        async def post_until_fenced(inbox: Inbox, name: int) -> None:
            for turn in count():
                try:
                    await inbox.post(*(f"{name} {turn} {part}" for part in PARTS))
                except QueueAway:
                    return

        opened = await log.open()
        posting = [
            asyncio.create_task(post_until_fenced((inbox, there)[number % 2], number))
            for number in range(2 * POSTERS_EACH)
        ]
        async with asyncio.timeout(UNDER_WAY_WITHIN):
            while len(await log.all(after=opened.last)) < POSTS_EACH * len(PARTS):
                pass
        transfers, ref, now = store.transfers, inbox.ref, inbox.now
        await transfers.fence(ref, epoch=EPOCH, now=now)
        announced = await transfers.dump_log(ref, after=BEFORE_ALL, limit=EVERYTHING, now=now)
        await asyncio.gather(*posting)
        held = await transfers.dump(ref, after=BEFORE_ALL, limit=EVERYTHING, now=now)
        assert announced == held
        await transfers.open(ref, epoch=EPOCH, now=now)
        await there.post("after")
        assert await log.bodies(after=held[-1].position) == ["after"]


async def post_from(here: Inbox, there: Inbox, prefix: str = "") -> None:
    """Many posts of several messages each, on two nodes at once."""

    async def post(inbox: Inbox, name: str) -> None:
        for turn in range(POSTS_EACH):
            await inbox.post(*(f"{prefix}{name} {turn} {part}" for part in PARTS))

    await asyncio.gather(
        *(post(here, f"here-{number}") for number in range(POSTERS_EACH)),
        *(post(there, f"there-{number}") for number in range(POSTERS_EACH)),
    )
