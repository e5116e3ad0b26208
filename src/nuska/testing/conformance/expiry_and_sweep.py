"""Ends: exact by filter at once, swept later without anybody noticing; time never runs back."""

import pytest

from nuska.domain.messages import DeleteOutcome
from nuska.domain.moments import Duration, Moment
from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    SWEEPS_AT_MOST,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
)

A_BACKLOG = 3000
"""More messages than one step of any sweep should take."""
EARLIER = Duration(-30_000)


class ExpiryConformance(Conformance):
    @pytest.mark.parametrize("swept", [False, True], ids=["unswept", "swept"])
    async def test_what_ends_at_a_moment_is_over_at_that_moment(
        self, inbox: Inbox, swept: bool
    ) -> None:
        [short, long] = await inbox.post("short", ttl=MINUTE) + await inbox.post("long")
        inbox.clock.advance(milliseconds=59_999)
        assert await inbox.listed() == ["short", "long"]
        inbox.clock.advance(milliseconds=1)
        if swept:
            await sweep_all(inbox.store, inbox.clock)
        assert await inbox.listed() == ["long"]
        assert bodies(await inbox.all()) == ["long"]
        assert bodies(await inbox.get(short, long)) == ["long"]
        assert await inbox.counts() == (1, 0, 0)
        assert await inbox.delete(short) is DeleteOutcome.MISSING
        assert await inbox.delete(short, claim=1) is DeleteOutcome.MISSING
        assert await inbox.delete_many(short, claims=[1])
        assert bodies(await inbox.claim()) == ["long"]

    @pytest.mark.parametrize("swept", [False, True], ids=["unswept", "swept"])
    async def test_expired_messages_at_the_head_hide_nothing_behind_them(
        self, inbox: Inbox, swept: bool
    ) -> None:
        for number in range(150):
            await inbox.post(f"short {number}", ttl=MINUTE)
        await inbox.post("a", "b", "c")
        inbox.clock.advance(seconds=60)
        if swept:
            await sweep_all(inbox.store, inbox.clock)
        assert await inbox.listed(limit=2) == ["a", "b"]
        assert bodies(await inbox.claim(limit=1)) == ["a"]
        assert bodies(await inbox.pop(1)) == ["b"]
        assert await inbox.listed() == ["c"]

    async def test_an_expired_delayed_message_never_shows(self, inbox: Inbox) -> None:
        await inbox.post("late", ttl=MINUTE, delay=HOUR)
        inbox.clock.advance(seconds=60)
        assert await inbox.all() == []
        assert await inbox.next_due() is None
        await sweep_all(inbox.store, inbox.clock)
        inbox.clock.advance(seconds=3600)
        assert await inbox.claim() == []


class SweepConformance(Conformance):
    async def test_sweeping_an_idle_store_does_nothing(self, inbox: Inbox) -> None:
        assert await sweep_all(inbox.store, inbox.clock) == (0, set())
        await inbox.post("stays")
        await inbox.claim()
        before = await inbox.all()
        assert await sweep_all(inbox.store, inbox.clock) == (0, set())
        assert await inbox.all() == before

    async def test_what_expired_is_removed_once(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", "c", ttl=MINUTE)
        await inbox.post("stays")
        inbox.clock.advance(seconds=60)
        removed, _ = await sweep_all(inbox.store, inbox.clock)
        assert removed >= 3
        assert (await sweep_all(inbox.store, inbox.clock))[0] == 0
        assert await inbox.listed() == ["stays"]

    async def test_a_queue_is_reported_when_a_delay_ends_in_it(self, inbox: Inbox) -> None:
        await inbox.post("later", delay=MINUTE)
        inbox.clock.advance(milliseconds=59_999)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == set()
        inbox.clock.advance(milliseconds=1)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == {inbox.ref}
        assert (await sweep_all(inbox.store, inbox.clock))[1] == set()
        assert await inbox.listed() == ["later"]

    async def test_a_queue_is_reported_when_a_claim_ends_in_it(self, inbox: Inbox) -> None:
        await inbox.post("a", "b")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(milliseconds=59_999)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == set()
        inbox.clock.advance(milliseconds=1)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == {inbox.ref}
        assert (await sweep_all(inbox.store, inbox.clock))[1] == set()
        assert await inbox.listed() == ["a", "b"]

    async def test_every_queue_with_something_due_is_reported(self, inbox: Inbox) -> None:
        queues = [inbox, inbox.beside("other"), inbox.beside(project="other")]
        for queue in queues:
            await queue.post("later", delay=MINUTE)
        await inbox.beside("quiet").post("ready")
        inbox.clock.advance(seconds=60)
        _, due = await sweep_all(inbox.store, inbox.clock)
        assert due == {queue.ref for queue in queues}

    async def test_a_renewed_claim_is_not_reported_at_its_old_end(self, inbox: Inbox) -> None:
        await inbox.post("a")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=30)
        await inbox.renew(1, ttl=MINUTE)
        inbox.clock.advance(seconds=30)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == set()
        inbox.clock.advance(seconds=30)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == {inbox.ref}

    async def test_nothing_is_reported_of_messages_that_are_gone(self, inbox: Inbox) -> None:
        for name in ("purged", "deleted", "expired", "taken"):
            await inbox.beside(name).post("later", delay=MINUTE, ttl=Duration(90_000))
        [taken] = await inbox.beside("taken").all()
        await inbox.beside("purged").purge()
        await inbox.beside("deleted").drop()
        await inbox.beside("taken").delete(taken.id)
        inbox.clock.advance(seconds=90)
        assert (await sweep_all(inbox.store, inbox.clock))[1] == set()

    @pytest.mark.parametrize("how", ["purge", "drop"])
    async def test_a_large_old_generation_is_swept_and_the_new_one_is_not(
        self, inbox: Inbox, how: str
    ) -> None:
        await inbox.post(*(str(n) for n in range(A_BACKLOG)))
        await inbox.claim(1, limit=100)
        await (inbox.purge() if how == "purge" else inbox.drop())
        await inbox.post("new")
        assert await inbox.listed() == ["new"]
        await sweep_all(inbox.store, inbox.clock)
        inbox.clock.advance(seconds=61)
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.all()) == ["new"]
        assert await inbox.counts() == (1, 0, 0)

    async def test_a_backlog_is_swept_in_steps_that_leave_the_counts_right(
        self, inbox: Inbox
    ) -> None:
        await inbox.post(*(str(n) for n in range(A_BACKLOG)), ttl=MINUTE)
        await inbox.post("stays")
        inbox.clock.advance(seconds=60)
        for _ in range(SWEEPS_AT_MOST):
            report = await inbox.store.sweep(now=inbox.now)
            assert await inbox.counts() == (1, 0, 0)
            if not report.more:
                break
        assert bodies(await inbox.claim()) == ["stays"]

    async def test_many_claims_that_end_at_once_are_all_freed(self, inbox: Inbox) -> None:
        letters = [str(n) for n in range(A_BACKLOG)]
        await inbox.post(*letters)
        for number in range(30):
            await inbox.claim(number, limit=A_BACKLOG // 30, ttl=MINUTE)
        assert await inbox.counts() == (0, 0, A_BACKLOG)
        inbox.clock.advance(seconds=60)
        assert await inbox.counts() == (A_BACKLOG, 0, 0)
        assert len(await inbox.claim(31, limit=20)) == 20
        await inbox.release(31)
        _, due = await sweep_all(inbox.store, inbox.clock)
        assert due == {inbox.ref}
        assert bodies(await inbox.claim(32, limit=A_BACKLOG)) == letters

    async def test_sweeps_between_calls_change_no_answer(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", ttl=MINUTE)
        await inbox.post("c", "d")
        await inbox.claim(1, limit=1, ttl=Duration(30_000), grace=Duration(0))
        await inbox.post("e", delay=MINUTE)
        for _ in range(7):
            inbox.clock.advance(seconds=10)
            before = (await inbox.all(), await inbox.stats(), await inbox.next_due())
            await sweep_all(inbox.store, inbox.clock)
            assert (await inbox.all(), await inbox.stats(), await inbox.next_due()) == before


class TimelineConformance(Conformance):
    async def test_a_store_can_be_asked_whether_it_answers(self, store: Store) -> None:
        await store.ping()

    async def test_a_store_says_what_it_can_do(self, store: Store) -> None:
        known = {"FIFO", "CLAIMS", "DURABILITY", "AOD", "HIGH_THROUGHPUT"}
        assert store.capabilities.names <= known
        assert {"FIFO", "CLAIMS"} <= store.capabilities.names
        assert ("DURABILITY" in store.capabilities.names) == store.capabilities.durable
        assert store.durability

    async def test_a_second_close_does_nothing(self, store: Store) -> None:
        await store.close()
        await store.close()

    async def test_a_clock_that_was_set_back_revives_nothing(self, inbox: Inbox) -> None:
        [gone] = await inbox.post("gone", ttl=MINUTE)
        await inbox.post("held")
        await inbox.claim(1, ttl=MINUTE, grace=Duration(0))
        inbox.clock.advance(seconds=60)
        await inbox.post("later")
        past = self._behind(inbox)
        assert await past.get(gone) == []
        assert await past.held(1) is None
        assert not await past.renew(1, ttl=HOUR)
        assert await past.listed() == ["held", "later"]
        assert await past.counts() == (2, 0, 0)

    async def test_a_store_tells_the_last_moment_it_has_seen(
        self, store: Store, inbox: Inbox
    ) -> None:
        inbox.clock.advance(seconds=60)
        await inbox.post("now")
        assert store.latest == inbox.now
        await self._behind(inbox).post("later")
        assert store.latest == inbox.now

    async def test_what_is_done_with_a_clock_set_back_happens_at_the_last_moment_seen(
        self, inbox: Inbox
    ) -> None:
        inbox.clock.advance(seconds=60)
        await inbox.post("first")
        past = self._behind(inbox)
        await past.post("second", delay=MINUTE)
        [claimed] = await past.claim(1, ttl=MINUTE)
        [_, second] = await inbox.all()
        assert (second.created_at, second.available_at) == (inbox.now, inbox.now + MINUTE)
        assert claimed.available_at == inbox.now + MINUTE

    def _behind(self, inbox: Inbox) -> Inbox:
        """The same queue in the hands of a caller whose clock is behind."""
        behind = ManualClock(Moment(inbox.now + EARLIER))
        return Inbox(inbox.store, behind, inbox.ref.name, inbox.ref.project)
