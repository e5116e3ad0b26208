"""Dead letters: moved inside a claim, once, with reason and count, free at once (I12)."""

import pytest

from nuska.domain.claims import OVER_CLAIM_COUNT, Claimed
from nuska.domain.limits import DEAD_LETTERS_PER_CLAIM
from nuska.domain.messages import DeadLetter, DeleteOutcome
from nuska.domain.moments import after, seconds
from nuska.domain.queues import EMPTY_STATS
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    NOTHING,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
)


class DeadLetterConformance(Conformance):
    @pytest.fixture
    def dead(self, inbox: Inbox) -> Inbox:
        return inbox.beside("dead")

    async def test_the_claim_after_the_last_allowed_one_moves_the_message(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("poison")
        for number in (1, 2):
            claimed = await inbox.claiming(number, dead_letters=dead.rule(2))
            assert (bodies(claimed.messages), claimed.dead_lettered) == (["poison"], 0)
            inbox.clock.advance(seconds=60)
        assert await inbox.claiming(3, dead_letters=dead.rule(2)) == Claimed([], 1)
        assert await inbox.held(3) is None
        assert await inbox.all() == []
        assert await dead.listed() == ["poison"]

    @pytest.mark.parametrize("max_claims", [0, -1])
    async def test_a_count_of_nought_or_less_never_delivers(
        self, inbox: Inbox, dead: Inbox, max_claims: int
    ) -> None:
        await inbox.post("poison")
        claimed = await inbox.claiming(dead_letters=dead.rule(max_claims))
        assert claimed == Claimed([], 1)
        assert await dead.listed() == ["poison"]

    async def test_a_dead_letter_keeps_what_it_was_and_says_why_it_is_there(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        [message_id] = (await inbox.add("poison", poster=b"me", attributes=b"{}")).ids
        await inbox.claim(1)
        await inbox.release(1)
        before = await inbox.one(message_id)
        inbox.clock.advance(seconds=5)
        await inbox.claim(2, dead_letters=dead.rule(1))
        after_move = await dead.one(message_id)
        for kept in ("id", "body", "created_at", "expires_at", "ttl", "poster", "attributes"):
            assert getattr(after_move, kept) == getattr(before, kept), kept
        assert (after_move.claim_count, after_move.claim_id) == (1, None)
        assert after_move.available_at <= inbox.now
        assert after_move.dead == DeadLetter(
            origin="inbox", reason=OVER_CLAIM_COUNT, claim_count=1, at=inbox.now
        )

    async def test_a_dead_letter_is_in_one_queue_only(self, inbox: Inbox, dead: Inbox) -> None:
        [message_id] = await inbox.post("poison")
        await inbox.claim(1, dead_letters=dead.rule(0))
        assert await inbox.get(message_id) == []
        assert await inbox.stats() == EMPTY_STATS
        assert await inbox.delete(message_id) is DeleteOutcome.MISSING
        assert await inbox.delete_many(message_id)
        assert bodies(await dead.get(message_id)) == ["poison"]
        assert await dead.counts() == (1, 0, 0)

    async def test_a_dead_letter_is_a_message_like_any_other(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        [a, b, c] = await inbox.post("a", "b", "c")
        await inbox.claim(1, dead_letters=dead.rule(0))
        assert bodies(await dead.claim(2, limit=2)) == ["a", "b"]
        assert await dead.delete(a) is DeleteOutcome.CLAIMED
        assert await dead.delete(a, claim=2) is DeleteOutcome.DELETED
        assert await dead.delete_many(b)
        assert bodies(await dead.pop()) == ["c"]
        assert await dead.get(a, b, c) == []
        assert await dead.all() == []

    async def test_dead_letters_go_to_the_tail_in_the_order_they_had(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("a", "b")
        inbox.clock.advance(seconds=1)
        await dead.post("was here before")
        await inbox.claim(1, dead_letters=dead.rule(0))
        await dead.post("comes later")
        assert await dead.listed() == ["was here before", "a", "b", "comes later"]

    async def test_a_reader_of_the_dead_letter_queue_misses_none(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        ids = await inbox.post("a", "b")
        inbox.clock.advance(seconds=1)
        await dead.post("seen")
        marker = (await dead.page()).marker
        await inbox.claim(1, dead_letters=dead.rule(0))
        assert await dead.listed(after=marker) == ["a", "b"]
        position = await dead.store.messages.position_of(dead.ref, ids[0])
        assert position is not None
        assert await dead.listed(after=position) == ["b"]

    async def test_a_missing_dead_letter_queue_is_created(self, inbox: Inbox, dead: Inbox) -> None:
        await inbox.post("poison")
        await inbox.claim(1, dead_letters=dead.rule(1))
        assert not await dead.exists()
        await inbox.release(1)
        await inbox.claim(2, dead_letters=dead.rule(1))
        queue = await dead.store.queues.get(dead.ref)
        assert queue is not None
        assert (queue.metadata, queue.relaxed) == ({}, False)

    @pytest.mark.parametrize("new_life", [MINUTE, HOUR * 5])
    async def test_a_dead_letter_ttl_counts_from_the_move(
        self, inbox: Inbox, dead: Inbox, clock: ManualClock, new_life: int
    ) -> None:
        ttl = seconds(new_life // 1000)
        [message_id] = await inbox.post("poison", ttl=HOUR)
        posted_at = clock.now()
        clock.advance(seconds=600)
        await inbox.claim(1, dead_letters=dead.rule(0, ttl=ttl))
        message = await dead.one(message_id)
        assert (message.ttl, message.created_at) == (ttl, posted_at)
        assert message.expires_at == after(clock.now(), ttl)
        clock.advance(milliseconds=ttl - 1)
        assert await dead.listed() == ["poison"]
        clock.advance(milliseconds=1)
        assert await dead.all() == []

    async def test_moves_happen_inside_claims_only(self, inbox: Inbox, dead: Inbox) -> None:
        await inbox.post("poison")
        await inbox.claim(1, ttl=MINUTE, dead_letters=dead.rule(1))
        inbox.clock.advance(seconds=60)
        await sweep_all(inbox.store, inbox.clock)
        assert await inbox.listed() == ["poison"]
        assert not await dead.exists()
        assert bodies(await inbox.pop()) == ["poison"]

    async def test_the_claim_that_moves_returns_what_else_it_took(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("tired 1", "tired 2")
        await inbox.claim(1)
        await inbox.release(1)
        await inbox.post("fresh 1", "fresh 2", "fresh 3")
        claimed = await inbox.claiming(2, limit=2, dead_letters=dead.rule(1))
        assert (bodies(claimed.messages), claimed.dead_lettered) == (["fresh 1", "fresh 2"], 2)
        assert await dead.listed() == ["tired 1", "tired 2"]
        assert await inbox.listed() == ["fresh 3"]

    async def test_a_claim_that_is_full_moves_nothing_behind_it(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        [_, tired] = await inbox.post("fresh", "tired")
        await inbox.claim(1, limit=1)
        await inbox.claim(2)
        await inbox.release(2)
        await inbox.release(1, uncount=True)
        claimed = await inbox.claiming(3, limit=1, dead_letters=dead.rule(1))
        assert (bodies(claimed.messages), claimed.dead_lettered) == (["fresh"], 0)
        assert bodies(await inbox.get(tired)) == ["tired"]
        assert not await dead.exists()

    async def test_counts_from_before_the_rule_count(self, inbox: Inbox, dead: Inbox) -> None:
        await inbox.post("a")
        for number in range(1, 4):
            await inbox.claim(number)
            await inbox.release(number)
        assert await inbox.claiming(4, dead_letters=dead.rule(3)) == Claimed([], 1)

    async def test_an_uncounted_claim_brings_a_message_no_nearer(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("a")
        for number in range(1, 4):
            assert bodies(await inbox.claim(number, dead_letters=dead.rule(1))) == ["a"]
            await inbox.release(number, uncount=True)
        assert not await dead.exists()

    async def test_claimed_delayed_and_expired_messages_are_not_moved(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("claimed")
        await inbox.claim(1, ttl=HOUR)
        await inbox.post("expired", ttl=MINUTE)
        await inbox.post("delayed", delay=HOUR)
        inbox.clock.advance(seconds=60)
        assert await inbox.claiming(2, dead_letters=dead.rule(0)) == Claimed([], 0)
        assert not await dead.exists()

    async def test_a_queue_that_is_its_own_dead_letter_queue_comes_to_an_end(
        self, inbox: Inbox
    ) -> None:
        ids = await inbox.post("a", "b")
        inbox.clock.advance(seconds=1)
        claimed = await inbox.claiming(1, dead_letters=inbox.rule(0))
        assert claimed == Claimed([], 2)
        assert await inbox.listed() == ["a", "b"]
        assert bodies(await inbox.get(*ids)) == ["a", "b"]
        assert await inbox.counts() == (2, 0, 0)
        assert await inbox.claiming(2, dead_letters=inbox.rule(0)) == Claimed([], 2)
        await sweep_all(inbox.store, inbox.clock)
        assert await inbox.listed() == ["a", "b"]
        assert await inbox.delete(ids[0]) is DeleteOutcome.DELETED
        assert bodies(await inbox.pop()) == ["b"]

    async def test_its_own_dead_letter_queue_delivers_the_rest_first(self, inbox: Inbox) -> None:
        await inbox.post("tired")
        await inbox.claim(1)
        await inbox.release(1)
        await inbox.post("fresh")
        claimed = await inbox.claiming(2, limit=5, dead_letters=inbox.rule(1))
        assert (bodies(claimed.messages), claimed.dead_lettered) == (["fresh"], 1)
        await inbox.release(2)
        assert await inbox.listed() == ["fresh", "tired"]

    async def test_a_ring_of_dead_letter_queues_loses_and_doubles_nothing(
        self, inbox: Inbox
    ) -> None:
        ring = [inbox, inbox.beside("second"), inbox.beside("third")]
        ids = await inbox.post("a", "b", "c")
        for step in range(7):
            here, there = ring[step % 3], ring[(step + 1) % 3]
            assert await here.claiming(step, dead_letters=there.rule(0)) == Claimed([], 3)
            for queue in ring:
                expected = ["a", "b", "c"] if queue is there else []
                assert await queue.listed() == expected
                assert bodies(await queue.get(*ids)) == expected
            moved = await there.one(ids[0])
            assert moved.dead is not None
            assert moved.dead.origin == here.ref.name

    async def test_a_dead_letter_goes_on_counting_in_its_queue(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("a")
        await inbox.claim(1)
        await inbox.release(1)
        await inbox.claim(2, dead_letters=dead.rule(1))
        grave = inbox.beside("grave")
        [message] = await dead.claim(3, dead_letters=grave.rule(2))
        assert message.claim_count == 2
        await dead.release(3)
        assert await dead.claiming(4, dead_letters=grave.rule(2)) == Claimed([], 1)
        assert await grave.listed() == ["a"]

    async def test_one_claim_moves_no_more_than_its_bound_and_the_next_goes_on(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        many = 2 * DEAD_LETTERS_PER_CLAIM + 50
        await inbox.post(*(f"tired {n}" for n in range(many)))
        await inbox.claim(1, ttl=HOUR)
        await inbox.release(1)
        await inbox.post("fresh")
        moved, delivered = 0, list[str]()
        for number in range(2, 12):
            claimed = await inbox.claiming(number, limit=5, dead_letters=dead.rule(1))
            assert claimed.dead_lettered <= DEAD_LETTERS_PER_CLAIM
            moved += claimed.dead_lettered
            delivered += bodies(claimed.messages)
        assert (moved, delivered) == (many, ["fresh"])
        assert await dead.listed() == [f"tired {n}" for n in range(many)]
        assert await inbox.listed() == []

    async def test_deleting_or_purging_either_queue_leaves_the_other_alone(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        await inbox.post("a", "b")
        await inbox.claim(1, limit=1)
        await inbox.release(1)
        await inbox.claim(2, limit=1, dead_letters=dead.rule(1))
        await inbox.drop()
        await sweep_all(inbox.store, inbox.clock)
        assert await dead.listed() == ["a"]
        await inbox.post("c")
        await dead.purge()
        await sweep_all(inbox.store, inbox.clock)
        assert await dead.all() == []
        assert await inbox.listed() == ["c"]

    async def test_dead_letters_expire_and_are_swept_like_any_message(
        self, inbox: Inbox, dead: Inbox
    ) -> None:
        ids = await inbox.post("a", "b", ttl=MINUTE)
        await inbox.claim(1, ttl=NOTHING, dead_letters=dead.rule(0))
        inbox.clock.advance(seconds=60)
        assert await dead.get(*ids) == []
        await sweep_all(inbox.store, inbox.clock)
        assert await dead.all() == []
        assert await dead.stats() == EMPTY_STATS
