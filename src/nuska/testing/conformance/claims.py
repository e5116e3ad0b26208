"""Claims: oldest first, exclusive, prolonging, renewed, released, over at their end."""

import pytest

from nuska.domain.claims import Claim, Claimed
from nuska.domain.moments import Duration, after, seconds
from nuska.testing.conformance.inbox import (
    HOUR,
    MALFORMED,
    MINUTE,
    UNKNOWN_CLAIM,
    Conformance,
    Inbox,
    bodies,
    named_claim,
    sweep_all,
)

# Contract lifecycle §5 with the rule of I9: seconds left before, claim ttl, grace, then the
# ttl shown and the seconds left afterwards.
ARITHMETIC = [
    pytest.param(60, 100, 200, 300, 300, id="would-die-before-the-claim-ends"),
    pytest.param(400, 100, 200, 400, 400, id="outlives-claim-and-grace"),
    pytest.param(100, 100, 200, 300, 300, id="ends-with-the-claim"),
    pytest.param(200, 100, 200, 300, 300, id="ends-within-the-grace"),
    pytest.param(300, 100, 200, 300, 300, id="ends-with-the-grace"),
    pytest.param(301, 100, 200, 301, 301, id="ends-just-after-the-grace"),
    pytest.param(60, 60, 0, 60, 60, id="no-grace"),
    pytest.param(60, 43_200, 43_200, 86_400, 86_400, id="the-longest-of-both"),
]


class ClaimConformance(Conformance):
    async def test_a_claim_takes_the_oldest_messages_first(self, inbox: Inbox) -> None:
        await inbox.post("first", "second")
        await inbox.post("third")
        assert bodies(await inbox.claim(1, limit=2)) == ["first", "second"]
        assert bodies(await inbox.claim(2, limit=2)) == ["third"]

    async def test_a_claimed_message_shows_its_claim_its_count_and_its_end(
        self, inbox: Inbox
    ) -> None:
        [message_id] = await inbox.post("one", ttl=HOUR)
        before = await inbox.one(message_id)
        inbox.clock.advance(seconds=5)
        [claimed] = await inbox.claim(1, ttl=MINUTE)
        assert claimed.claim_id == named_claim(1)
        assert claimed.claim_count == 1
        assert claimed.available_at == after(inbox.now, MINUTE)
        assert (claimed.position, claimed.created_at) == (before.position, before.created_at)
        assert (claimed.ttl, claimed.expires_at) == (before.ttl, before.expires_at)
        assert await inbox.one(message_id) == claimed

    async def test_nothing_free_makes_no_claim(self, inbox: Inbox) -> None:
        assert await inbox.claiming(1) == Claimed([], 0)
        assert await inbox.held(1) is None
        await inbox.post("one")
        await inbox.claim(2)
        assert await inbox.claiming(3) == Claimed([], 0)
        assert await inbox.held(3) is None

    async def test_a_claimed_message_is_neither_claimed_again_nor_listed_nor_popped(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("one")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(milliseconds=59_999)
        assert await inbox.claim(2) == []
        assert await inbox.listed() == []
        assert await inbox.pop() == []

    async def test_an_abandoned_claim_frees_its_messages_the_instant_it_ends(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("one")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.held(1) is None
        [message] = await inbox.claim(2)
        assert (message.claim_id, message.claim_count) == (named_claim(2), 2)

    async def test_an_abandoned_message_can_be_listed_and_popped_the_instant_it_is_free(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("one")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        page = await inbox.page()
        assert [(m.claim_id, m.claim_count) for m in page.messages] == [(None, 1)]
        [popped] = await inbox.pop()
        assert (popped.claim_id, popped.claim_count) == (None, 1)

    async def test_messages_of_an_ended_claim_stand_where_they_stood(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", "c", "d")
        await inbox.claim(1, limit=2, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.listed() == ["a", "b", "c", "d"]
        assert bodies(await inbox.claim(2, limit=3)) == ["a", "b", "c"]

    async def test_a_new_claim_takes_nothing_from_newer_live_claims(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", "c", "d", "e")
        await inbox.claim(1, limit=2, ttl=MINUTE)
        await inbox.claim(2, limit=2, ttl=HOUR)
        await inbox.release(1)
        assert bodies(await inbox.claim(3)) == ["a", "b", "e"]
        held = await inbox.held(2)
        assert held is not None
        assert bodies(held.messages) == ["c", "d"]

    async def test_every_claim_counts_whatever_its_end(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("one")
        await inbox.claim(1)
        await inbox.release(1)
        await inbox.claim(2)
        await inbox.renew(2)
        inbox.clock.advance(seconds=60)
        await inbox.claim(3)
        assert (await inbox.one(message_id)).claim_count == 3

    @pytest.mark.parametrize(("left", "ttl", "grace", "shown", "left_after"), ARITHMETIC)
    async def test_a_claim_prolongs_a_message_and_never_shortens_it(
        self, inbox: Inbox, left: int, ttl: int, grace: int, shown: int, left_after: int
    ) -> None:
        [message_id] = await inbox.post("one", ttl=seconds(left))
        [claimed] = await inbox.claim(ttl=seconds(ttl), grace=seconds(grace))
        assert claimed.ttl == seconds(shown)
        assert claimed.expires_at == after(inbox.now, seconds(left_after))
        assert await inbox.one(message_id) == claimed
        inbox.clock.advance(seconds=left_after, milliseconds=-1)
        assert len(await inbox.get(message_id)) == 1
        inbox.clock.advance(milliseconds=1)
        assert await inbox.get(message_id) == []

    @pytest.mark.parametrize(("left", "ttl", "grace", "shown", "left_after"), ARITHMETIC)
    async def test_a_renewal_prolongs_messages_as_a_claim_does(
        self, inbox: Inbox, left: int, ttl: int, grace: int, shown: int, left_after: int
    ) -> None:
        [message_id] = await inbox.post("one", ttl=seconds(left))
        await inbox.claim(ttl=seconds(1), grace=seconds(0))
        assert await inbox.renew(ttl=seconds(ttl), grace=seconds(grace))
        message = await inbox.one(message_id)
        assert message.ttl == seconds(shown)
        assert message.expires_at == after(inbox.now, seconds(left_after))

    async def test_an_old_message_is_prolonged_from_now_and_keeps_its_age(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("aged", ttl=seconds(60))
        posted_at = inbox.now
        inbox.clock.advance(seconds=50)
        [claimed] = await inbox.claim(ttl=seconds(100), grace=seconds(200))
        assert (claimed.ttl, claimed.created_at) == (seconds(300), posted_at)
        assert claimed.expires_at == after(inbox.now, seconds(300))

    async def test_a_claim_shows_its_terms_and_its_messages_in_order(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", "c")
        claimed = await inbox.claim(1, ttl=MINUTE)
        started = inbox.now
        inbox.clock.advance(seconds=7)
        assert await inbox.held(1) == Claim(
            id=claimed[0].claim_id,  # type: ignore[arg-type]  # checked by the equality
            ttl=MINUTE,
            started_at=started,
            expires_at=after(started, MINUTE),
            messages=claimed,
        )

    async def test_a_claim_shows_only_messages_that_are_still_there(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b", "c")
        await inbox.claim(1)
        await inbox.delete(ids[0], claim=1)
        await inbox.delete_many(ids[2])
        held = await inbox.held(1)
        assert held is not None
        assert bodies(held.messages) == ["b"]

    async def test_a_claim_lives_to_its_end_when_all_its_messages_are_deleted(
        self, inbox: Inbox
    ) -> None:
        ids = await inbox.post("a", "b")
        await inbox.claim(1, ttl=MINUTE)
        await inbox.delete_many(*ids)
        inbox.clock.advance(milliseconds=59_999)
        await sweep_all(inbox.store, inbox.clock)
        held = await inbox.held(1)
        assert held is not None
        assert held.messages == []
        inbox.clock.advance(milliseconds=1)
        assert await inbox.held(1) is None

    async def test_a_renewal_starts_the_claim_anew(self, inbox: Inbox) -> None:
        await inbox.post("a", "b")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=59)
        assert await inbox.renew(1, ttl=Duration(90_000))
        held = await inbox.held(1)
        assert held is not None
        assert (held.ttl, held.started_at) == (90_000, inbox.now)
        assert held.expires_at == after(inbox.now, Duration(90_000))
        assert [m.available_at for m in held.messages] == [held.expires_at] * 2
        assert [m.claim_count for m in held.messages] == [1, 1]
        inbox.clock.advance(milliseconds=89_999)
        assert await inbox.claim(2) == []
        inbox.clock.advance(milliseconds=1)
        assert bodies(await inbox.claim(3)) == ["a", "b"]

    async def test_a_renewal_may_shorten_a_claim(self, inbox: Inbox) -> None:
        await inbox.post("a")
        await inbox.claim(1, ttl=HOUR)
        assert await inbox.renew(1, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.held(1) is None
        assert bodies(await inbox.claim(2)) == ["a"]

    async def test_a_claim_with_no_messages_left_can_be_renewed(self, inbox: Inbox) -> None:
        ids = await inbox.post("a")
        await inbox.claim(1, ttl=MINUTE)
        await inbox.delete_many(*ids)
        assert await inbox.renew(1, ttl=HOUR)
        inbox.clock.advance(seconds=61)
        assert await inbox.held(1) is not None

    async def test_a_release_frees_messages_at_once_where_they_stood(self, inbox: Inbox) -> None:
        await inbox.post("a", "b", "c", ttl=MINUTE)
        await inbox.claim(1, limit=2)
        assert await inbox.release(1) == 2
        assert await inbox.held(1) is None
        assert await inbox.listed() == ["a", "b", "c"]
        assert await inbox.counts() == (3, 0, 0)
        assert bodies(await inbox.claim(2)) == ["a", "b", "c"]

    async def test_a_release_keeps_the_count_and_the_longer_life(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("a", ttl=MINUTE)
        [claimed] = await inbox.claim(1, ttl=HOUR, grace=HOUR)
        await inbox.release(1)
        message = await inbox.one(message_id)
        assert (message.claim_id, message.claim_count) == (None, 1)
        assert (message.ttl, message.expires_at) == (claimed.ttl, claimed.expires_at)

    async def test_a_claim_its_caller_never_got_is_not_counted(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b")
        await inbox.claim(1, limit=1)
        await inbox.release(1)
        await inbox.claim(2)
        assert await inbox.release(2, uncount=True) == 2
        assert [m.claim_count for m in await inbox.get(*ids)] == [1, 0]
        assert bodies(await inbox.claim(3)) == ["a", "b"]

    async def test_a_second_release_finds_nothing(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("a")
        await inbox.claim(1)
        assert await inbox.release(1) == 1
        assert await inbox.release(1, uncount=True) == 0
        await inbox.claim(2)
        assert await inbox.release(1) == 0
        assert (await inbox.one(message_id)).claim_id == named_claim(2)

    async def test_a_claim_that_is_over_can_do_nothing(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("a")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        before = await inbox.all()
        assert not await inbox.renew(1)
        assert await inbox.release(1, uncount=True) == 0
        assert await inbox.held(1) is None
        assert await inbox.all() == before
        await inbox.claim(2, ttl=MINUTE)
        held = await inbox.one(message_id)
        assert not await inbox.renew(1, ttl=HOUR)
        assert await inbox.release(1, uncount=True) == 0
        assert await inbox.one(message_id) == held

    @pytest.mark.parametrize("foreign", [*MALFORMED, UNKNOWN_CLAIM, named_claim(1).upper() + "A"])
    async def test_an_id_of_no_claim_can_do_nothing(self, inbox: Inbox, foreign: str) -> None:
        await inbox.post("a", "b")
        await inbox.claim(1, limit=1)
        before = await inbox.all()
        assert await inbox.held(foreign) is None
        assert not await inbox.renew(foreign, ttl=HOUR)
        assert await inbox.release(foreign) == 0
        assert await inbox.all() == before

    async def test_the_claim_of_another_queue_can_do_nothing(self, inbox: Inbox) -> None:
        other = inbox.beside("other")
        await inbox.post("a")
        await other.post("b")
        await inbox.claim(1)
        await other.claim(2)
        before = await inbox.all()
        assert await inbox.held(2) is None
        assert not await inbox.renew(2, ttl=HOUR)
        assert await inbox.release(2) == 0
        assert await inbox.all() == before
        assert await other.held(2) is not None

    async def test_a_claim_and_its_end_hold_after_sweeps(self, inbox: Inbox) -> None:
        await inbox.post("a", "b")
        await inbox.claim(1, limit=1, ttl=MINUTE)
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.claim(2)) == ["b"]
        inbox.clock.advance(seconds=60)
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.claim(3)) == ["a", "b"]
