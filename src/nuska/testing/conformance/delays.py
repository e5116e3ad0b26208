"""Delayed messages: hidden until they are due, then where they were posted."""

from nuska.domain.moments import Duration, after
from nuska.testing.conformance.inbox import HOUR, MINUTE, Conformance, Inbox, bodies, sweep_all


class DelayConformance(Conformance):
    async def test_a_delayed_message_is_neither_listed_nor_claimed_nor_popped(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("later", delay=MINUTE)
        inbox.clock.advance(milliseconds=59_999)
        assert await inbox.listed() == []
        assert await inbox.claim() == []
        assert await inbox.pop() == []
        assert await inbox.counts() == (0, 1, 0)

    async def test_a_delayed_message_can_be_claimed_the_instant_it_is_due(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("later", delay=MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.listed() == ["later"]
        assert await inbox.counts() == (1, 0, 0)
        assert bodies(await inbox.claim()) == ["later"]

    async def test_a_delayed_message_can_be_popped_the_instant_it_is_due(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("later", delay=MINUTE)
        inbox.clock.advance(seconds=60)
        assert bodies(await inbox.pop()) == ["later"]

    async def test_only_what_is_due_is_taken(self, inbox: Inbox) -> None:
        await inbox.post("ready")
        await inbox.post("later", delay=HOUR)
        await inbox.post("soon", delay=MINUTE)
        assert bodies(await inbox.claim(1)) == ["ready"]
        inbox.clock.advance(seconds=59)
        assert await inbox.claim(2) == []
        inbox.clock.advance(seconds=1)
        assert sorted(bodies(await inbox.claim(3))) == ["ready", "soon"]

    async def test_a_message_that_becomes_due_stands_where_it_was_posted(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("delayed", delay=MINUTE)
        await inbox.post("at once")
        inbox.clock.advance(seconds=60)
        assert await inbox.listed() == ["delayed", "at once"]
        assert bodies(await inbox.claim(limit=1)) == ["delayed"]

    async def test_the_ttl_of_a_delayed_message_runs_from_its_post(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("delayed", ttl=MINUTE, delay=Duration(59_999))
        inbox.clock.advance(milliseconds=59_999)
        assert await inbox.listed() == ["delayed"]
        inbox.clock.advance(milliseconds=1)
        assert await inbox.get(message_id) == []

    async def test_a_delay_as_long_as_the_ttl_is_never_delivered(self, inbox: Inbox) -> None:
        await inbox.post("never", ttl=MINUTE, delay=MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.all() == []
        assert await inbox.claim() == []
        assert await inbox.pop() == []

    async def test_a_delayed_message_can_be_deleted(self, inbox: Inbox) -> None:
        [one, two] = await inbox.post("one", "two", delay=MINUTE)
        await inbox.delete(one)
        assert await inbox.delete_many(two)
        inbox.clock.advance(seconds=60)
        await sweep_all(inbox.store, inbox.clock)
        assert await inbox.all() == []

    async def test_the_next_due_moment_is_the_earliest_end_of_a_delay_or_claim(
        self, inbox: Inbox
    ) -> None:
        assert await inbox.next_due() is None
        await inbox.post("ready")
        assert await inbox.next_due() is None
        await inbox.post("late", ttl=HOUR, delay=Duration(500_000))
        assert await inbox.next_due() == after(inbox.now, Duration(500_000))
        await inbox.claim(ttl=Duration(300_000))
        claim_end = after(inbox.now, Duration(300_000))
        assert await inbox.next_due() == claim_end
        await inbox.post("soon", delay=MINUTE)
        assert await inbox.next_due() == after(inbox.now, MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.next_due() == claim_end
        await inbox.release()
        assert await inbox.next_due() == after(inbox.now, Duration(440_000))

    async def test_the_next_due_moment_leaves_out_what_will_have_expired(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("never", ttl=MINUTE, delay=MINUTE)
        assert await inbox.next_due() is None
        await inbox.post("in time", ttl=HOUR, delay=Duration(61_000))
        assert await inbox.next_due() == after(inbox.now, Duration(61_000))

    async def test_the_next_due_moment_moves_with_a_renewed_claim(self, inbox: Inbox) -> None:
        await inbox.post("held")
        await inbox.claim(ttl=MINUTE)
        inbox.clock.advance(seconds=30)
        await inbox.renew(ttl=HOUR)
        assert await inbox.next_due() == after(inbox.now, HOUR)
