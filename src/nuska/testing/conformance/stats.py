"""Statistics: exact counts of what exists, and its two ends (I14)."""

from nuska.domain.queues import EMPTY_STATS, Landmark, Stats
from nuska.testing.conformance.inbox import HOUR, MINUTE, Conformance, Inbox, sweep_all


class StatsConformance(Conformance):
    async def test_a_missing_and_an_empty_queue_count_nothing(self, inbox: Inbox) -> None:
        assert await inbox.stats() == EMPTY_STATS
        await inbox.store.queues.create(inbox.ref, {}, now=inbox.now)
        assert await inbox.stats() == EMPTY_STATS

    async def test_every_message_is_counted_in_exactly_one_state(self, inbox: Inbox) -> None:
        [first, *_] = await inbox.post("a", "b", "c", "d", "e", "f")
        posted_at = inbox.now
        inbox.clock.advance(seconds=1)
        await inbox.post("g", "h", delay=MINUTE)
        [newest] = await inbox.post("i", delay=HOUR)
        await inbox.claim(1, limit=2)
        assert await inbox.stats() == Stats(
            ready=4,
            delayed=3,
            claimed=2,
            oldest=Landmark(first, posted_at),
            newest=Landmark(newest, inbox.now),
        )

    async def test_counts_follow_time_without_a_sweep(self, inbox: Inbox) -> None:
        await inbox.post("short", ttl=MINUTE)
        await inbox.post("delayed", delay=MINUTE)
        await inbox.post("claimed")
        inbox.clock.advance(seconds=1)
        assert len(await inbox.claim(limit=2, grace=MINUTE)) == 2
        assert await inbox.counts() == (0, 1, 2)
        inbox.clock.advance(seconds=59)
        assert await inbox.counts() == (1, 0, 2)
        inbox.clock.advance(seconds=1)
        assert await inbox.counts() == (3, 0, 0)
        inbox.clock.advance(seconds=60)  # "short" was prolonged to here by its claim
        assert await inbox.counts() == (2, 0, 0)

    async def test_counts_are_the_same_before_and_after_a_sweep(self, inbox: Inbox) -> None:
        await inbox.post("gone", ttl=MINUTE)
        await inbox.post("kept", "held")
        await inbox.post("due", delay=MINUTE)
        await inbox.claim(limit=2, grace=MINUTE)
        inbox.clock.advance(seconds=60)
        before = await inbox.stats()
        await sweep_all(inbox.store, inbox.clock)
        assert await inbox.stats() == before

    async def test_the_oldest_and_newest_may_be_claimed_or_delayed(self, inbox: Inbox) -> None:
        [claimed] = await inbox.post("claimed")
        await inbox.claim(1)
        await inbox.post("ready")
        [delayed] = await inbox.post("delayed", delay=MINUTE)
        stats = await inbox.stats()
        assert stats.oldest is not None
        assert stats.newest is not None
        assert (stats.oldest.id, stats.newest.id) == (claimed, delayed)

    async def test_the_oldest_is_never_one_that_has_expired(self, inbox: Inbox) -> None:
        await inbox.post("first", ttl=MINUTE)
        [second] = await inbox.post("second")
        await inbox.post("third", ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        stats = await inbox.stats()
        assert stats.oldest is not None
        assert stats.newest is not None
        assert (stats.oldest.id, stats.newest.id) == (second, second)

    async def test_deleting_and_popping_leave_the_counts_right(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b", "c", "d", "e")
        await inbox.claim(1, limit=2)
        await inbox.delete(ids[0], claim=1)
        await inbox.delete(ids[2])
        await inbox.pop(1)
        assert await inbox.counts() == (1, 0, 1)
        await inbox.release(1)
        assert await inbox.counts() == (2, 0, 0)
