"""Announcement logs: everything that was posted while somebody listens, and nothing else."""

import asyncio

import pytest

from nuska.domain.messages import Message
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.announcing import AnnouncingStore, OpenLog
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    PLENTY,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
)

POSTERS = 8
POSTS_EACH = 5
TRIMS_AT_MOST = 1000


class Log:
    """The announcement log of an inbox."""

    def __init__(self, store: AnnouncingStore, inbox: Inbox) -> None:
        self._logs = store.announcements
        self._inbox = inbox

    def of(self, inbox: Inbox) -> "Log":
        log = Log.__new__(Log)
        log._logs, log._inbox = self._logs, inbox
        return log

    async def open(self) -> OpenLog:
        return await self._logs.open(self._inbox.ref, now=self._inbox.now)

    async def state(self) -> OpenLog | None:
        return await self._logs.state(self._inbox.ref, now=self._inbox.now)

    async def close(self, version: str) -> bool:
        return await self._logs.close(self._inbox.ref, version=version, now=self._inbox.now)

    async def all(self, *, after: Position = BEFORE_ALL, limit: int = PLENTY) -> list[Message]:
        return await self._logs.page(self._inbox.ref, after=after, limit=limit, now=self._inbox.now)

    async def bodies(self, *, after: Position = BEFORE_ALL, limit: int = PLENTY) -> list[str]:
        return bodies(await self.all(after=after, limit=limit))

    async def trim(self, through: Position) -> None:
        for _ in range(TRIMS_AT_MOST):
            if not await self._logs.trim(self._inbox.ref, through=through, now=self._inbox.now):
                return
        raise AssertionError(f"trimming had not ended after {TRIMS_AT_MOST} steps")


def log_of(inbox: Inbox) -> Log:
    """The log of an inbox in a store that keeps logs."""
    assert isinstance(inbox.store, AnnouncingStore)
    return Log(inbox.store, inbox)


class AnnouncementConformance(Conformance):
    @pytest.fixture
    def log(self, store: AnnouncingStore, inbox: Inbox) -> Log:
        return Log(store, inbox)

    async def test_nothing_is_announced_while_nobody_listens(self, log: Log, inbox: Inbox) -> None:
        await inbox.post("before")
        assert await log.state() is None
        assert await log.bodies() == []
        await log.open()
        assert await log.bodies() == []

    async def test_what_stands_in_a_log_has_plain_numbers_that_anybody_can_write_down(
        self, log: Log, inbox: Inbox
    ) -> None:
        opened = await log.open()
        await inbox.post("x", delay=MINUTE)
        [message] = await log.all()
        moments = [message.created_at, message.expires_at, message.available_at]
        for number in (opened.last, message.position, message.ttl, *moments, message.claim_count):
            assert type(number) is int

    async def test_everything_posted_to_an_open_log_stands_in_it_as_it_was_posted(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()
        await inbox.add("a", "b", poster=b"p", attributes=b'{"k":1}')
        await inbox.post("c", ttl=MINUTE)
        announced = await log.all()
        assert bodies(announced) == ["a", "b", "c"]
        assert announced == (await inbox.page()).messages

    async def test_a_log_opened_before_its_queue_exists_has_all_its_messages(
        self, log: Log, inbox: Inbox
    ) -> None:
        opened = await log.open()
        assert not await inbox.exists()
        await inbox.post("a")
        assert [m.position > opened.last for m in await log.all()] == [True]

    async def test_what_is_posted_after_opening_stands_above_the_position_it_told(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()
        [first] = await inbox.post("old")
        again = await log.open()
        await inbox.post("new")
        assert await log.bodies(after=again.last) == ["new"]
        assert (await inbox.one(first)).position <= again.last

    async def test_what_workers_do_to_messages_does_not_touch_the_log(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()
        ids = await inbox.post("a", "b", "c", "d")
        posted = await log.all()
        await inbox.claim(limit=1, grace=HOUR, ttl=HOUR)
        await inbox.delete(ids[1])
        await inbox.delete_many(ids[2])
        assert bodies(await inbox.pop()) == ["d"]
        assert await log.all() == posted

    async def test_a_delayed_message_is_announced_with_the_moment_it_is_due(
        self, log: Log, inbox: Inbox, clock: ManualClock
    ) -> None:
        await log.open()
        await inbox.post("late", delay=seconds(30))
        await inbox.post("now")
        late, now = await log.all()
        assert late.available_at == clock.now() + seconds(30)
        assert now.available_at == clock.now()
        clock.advance(seconds=31)
        assert await log.bodies() == ["late", "now"]

    async def test_what_has_expired_is_not_in_the_log(
        self, store: AnnouncingStore, log: Log, inbox: Inbox, clock: ManualClock
    ) -> None:
        await log.open()
        await inbox.post("short", ttl=MINUTE)
        await inbox.post("long", ttl=HOUR)
        clock.advance(milliseconds=MINUTE)
        assert await log.bodies() == ["long"]
        await sweep_all(store, clock)
        assert await log.bodies() == ["long"]
        assert await inbox.listed() == ["long"]

    async def test_a_claim_that_prolongs_a_message_does_not_prolong_its_announcement(
        self, log: Log, inbox: Inbox, clock: ManualClock
    ) -> None:
        await log.open()
        await inbox.post("short", ttl=MINUTE)
        await inbox.claim(ttl=HOUR, grace=HOUR)
        clock.advance(milliseconds=MINUTE)
        assert await log.bodies() == []

    async def test_a_page_starts_after_a_position_and_has_at_most_its_limit(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()
        await inbox.post(*"abcde")
        first, second = await log.all(limit=2)
        assert bodies([first, second]) == ["a", "b"]
        assert await log.bodies(after=second.position, limit=2) == ["c", "d"]
        [*_, last] = await log.all()
        assert await log.bodies(after=last.position) == []

    async def test_trimming_drops_what_stands_up_to_a_position_and_nothing_of_the_queue(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()
        names = [f"{number:03}" for number in range(250)]
        await inbox.post(*names)
        announced = await log.all()
        await log.trim(announced[229].position)
        assert await log.bodies() == names[230:]
        assert await inbox.listed() == names
        await inbox.post("next")
        assert (await log.bodies())[-1] == "next"

    async def test_trimming_a_log_that_is_not_open_does_nothing(
        self, log: Log, inbox: Inbox
    ) -> None:
        [posted] = await inbox.post("a")
        await log.trim((await inbox.one(posted)).position)
        assert await inbox.listed() == ["a"]

    async def test_a_purge_empties_the_log_which_stays_open(
        self, store: AnnouncingStore, log: Log, inbox: Inbox, clock: ManualClock
    ) -> None:
        await log.open()
        await inbox.post("a", "b")
        await inbox.purge()
        assert await log.bodies() == []
        await inbox.post("c")
        await sweep_all(store, clock)
        assert await log.bodies() == ["c"]

    async def test_deleting_the_queue_empties_the_log_which_stays_open(
        self, store: AnnouncingStore, log: Log, inbox: Inbox, clock: ManualClock
    ) -> None:
        await log.open()
        await inbox.post("a", "b")
        await inbox.drop()
        assert await log.bodies() == []
        assert await log.state() is not None
        await inbox.post("c")
        await sweep_all(store, clock)
        assert await log.bodies() == ["c"]

    @pytest.mark.parametrize("how", ["purge", "drop"])
    async def test_what_was_emptied_stands_at_or_below_the_last_position_that_is_told(
        self, log: Log, inbox: Inbox, how: str
    ) -> None:
        await log.open()
        await inbox.post(*"abc")
        [*_, last] = await log.all()
        await (inbox.purge() if how == "purge" else inbox.drop())
        seen = await log.state()
        assert seen is not None
        assert seen.last >= last.position
        again = await log.open()
        assert again.last >= last.position
        await inbox.post("d")
        assert [m.position > again.last for m in await log.all()] == [True]

    async def test_positions_go_on_upwards_when_a_queue_is_deleted_and_made_again(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()
        await inbox.post(*"abc")
        [*_, last] = await log.all()
        await inbox.drop()
        await inbox.post("d")
        assert await log.bodies(after=last.position) == ["d"]

    async def test_a_closed_log_is_empty_and_hears_nothing_more(
        self, log: Log, inbox: Inbox
    ) -> None:
        opened = await log.open()
        await inbox.post("a")
        assert await log.close(opened.version)
        assert await log.state() is None
        assert await log.bodies() == []
        await inbox.post("b")
        assert await log.bodies() == []
        assert await inbox.listed() == ["a", "b"]
        await log.open()
        assert await log.bodies() == []

    async def test_a_log_closes_only_for_who_saw_its_last_opening(
        self, log: Log, inbox: Inbox
    ) -> None:
        first = await log.open()
        second = await log.open()
        assert first.version != second.version
        await inbox.post("a")
        assert not await log.close(first.version)
        assert not await log.close("")
        assert await log.bodies() == ["a"]
        seen = await log.state()
        assert seen is not None
        assert seen.version == second.version
        assert await log.close(second.version)
        assert not await log.close(second.version)

    async def test_the_version_of_a_closed_log_closes_no_later_one(
        self, log: Log, inbox: Inbox
    ) -> None:
        first = await log.open()
        assert await log.close(first.version)
        again = await log.open()
        assert again.version != first.version
        assert not await log.close(first.version)
        await inbox.post("a")
        assert await log.bodies() == ["a"]

    async def test_a_repeated_post_is_announced_once(self, log: Log, inbox: Inbox) -> None:
        await log.open()
        await inbox.add("a", key="k")
        assert (await inbox.add("a", key="k")).replayed
        assert await log.bodies() == ["a"]

    async def test_dead_letters_and_messages_put_back_are_not_announced(
        self, log: Log, inbox: Inbox
    ) -> None:
        source = inbox.beside("source")
        await log.open()
        await source.post("poison")
        await source.claim(dead_letters=inbox.rule(0))
        assert await inbox.listed() == ["poison"]
        await inbox.put_back(await inbox.pop())
        assert await log.bodies() == []

    async def test_a_log_is_of_one_queue_of_one_project(self, log: Log, inbox: Inbox) -> None:
        namesake, neighbour = inbox.beside(project="other"), inbox.beside("inbox2")
        await log.open()
        await namesake.post("other's")
        await neighbour.post("next door")
        assert await log.bodies() == []
        assert await log.of(namesake).state() is None
        await log.of(namesake).open()
        await namesake.post("heard")
        assert await log.of(namesake).bodies() == ["heard"]
        assert await log.bodies() == []

    async def test_a_log_is_no_queue(self, store: AnnouncingStore, log: Log, inbox: Inbox) -> None:
        await log.open()
        await inbox.post("a", "b")
        page = await store.queues.page(inbox.ref.project, after=None, limit=PLENTY)
        assert [queue.ref for queue in page] == [inbox.ref]
        assert await store.queues.count(inbox.ref.project) == 1
        assert await inbox.counts() == (2, 0, 0)

    async def test_a_log_has_all_of_many_simultaneous_posts_in_the_order_of_the_queue(
        self, log: Log, inbox: Inbox
    ) -> None:
        await log.open()

        async def poster(number: int) -> None:
            for turn in range(POSTS_EACH):
                await inbox.post(f"{number}-{turn}-a", f"{number}-{turn}-b")

        await asyncio.gather(*map(poster, range(POSTERS)))
        assert len(await log.bodies()) == POSTERS * POSTS_EACH * 2
        assert await log.bodies() == await inbox.listed()

    async def test_each_post_is_announced_whole_or_not_at_all_while_logs_open_and_close(
        self, log: Log, inbox: Inbox
    ) -> None:
        async def listener() -> None:
            for _ in range(POSTS_EACH):
                await log.close((await log.open()).version)
            await log.open()

        async def poster(number: int) -> None:
            for turn in range(POSTS_EACH):
                await inbox.post(*(f"{number}-{turn}-{part}" for part in "abc"))

        await asyncio.gather(listener(), *map(poster, range(POSTERS)))
        assert len(await inbox.listed()) == POSTERS * POSTS_EACH * 3
        heard = await log.bodies()
        posts = {body.rpartition("-")[0] for body in heard}
        assert len(heard) == len(posts) * 3
        await inbox.post("last")
        assert (await log.bodies())[-1] == "last"
