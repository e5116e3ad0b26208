"""Deleting messages: one by one under the rules of http-v2 §3.5, many at once without."""

import pytest

from nuska.domain.messages import DeleteOutcome
from nuska.testing.conformance.inbox import (
    HOUR,
    MALFORMED,
    MINUTE,
    NOTHING,
    UNKNOWN_CLAIM,
    Conformance,
    Inbox,
    bodies,
    named_claim,
    sweep_all,
)

DELETED = DeleteOutcome.DELETED
MISSING = DeleteOutcome.MISSING
CLAIMED = DeleteOutcome.CLAIMED
OTHER_CLAIM = DeleteOutcome.OTHER_CLAIM
NOT_CLAIMED = DeleteOutcome.NOT_CLAIMED
CLAIM_GONE = DeleteOutcome.CLAIM_GONE

ITS_CLAIM, OTHER, ENDED, EMPTIED, ELSEWHERE = (named_claim(n) for n in range(1, 6))
"""Live and holding the message; live with other messages; over; live, all its messages
deleted; live in another queue."""

NAMED = {
    "no claim": None,
    "its live claim": ITS_CLAIM,
    "another live claim": OTHER,
    "a live claim whose messages are gone": EMPTIED,
    "a claim that is over": ENDED,
    "a live claim of another queue": ELSEWHERE,
    "an unknown claim": UNKNOWN_CLAIM,
    "a malformed claim": "not-a-claim",
}
TABLE = {
    "does not exist": dict.fromkeys(NAMED, MISSING),
    "has expired": dict.fromkeys(NAMED, MISSING),
    "not claimed": {
        "no claim": DELETED,
        "another live claim": NOT_CLAIMED,
        "a live claim whose messages are gone": NOT_CLAIMED,
        "a claim that is over": CLAIM_GONE,
        "a live claim of another queue": CLAIM_GONE,
        "an unknown claim": CLAIM_GONE,
        "a malformed claim": CLAIM_GONE,
    },
    "its claim is over": {
        "no claim": DELETED,
        "another live claim": NOT_CLAIMED,
        "a claim that is over": CLAIM_GONE,
        "a live claim of another queue": CLAIM_GONE,
        "an unknown claim": CLAIM_GONE,
        "a malformed claim": CLAIM_GONE,
    },
    "claimed": {
        "no claim": CLAIMED,
        "its live claim": DELETED,
        "another live claim": OTHER_CLAIM,
        "a live claim whose messages are gone": OTHER_CLAIM,
        "a claim that is over": CLAIM_GONE,
        "a live claim of another queue": CLAIM_GONE,
        "an unknown claim": CLAIM_GONE,
        "a malformed claim": CLAIM_GONE,
    },
    "delayed": {
        "no claim": DELETED,
        "another live claim": NOT_CLAIMED,
        "an unknown claim": CLAIM_GONE,
        "a malformed claim": CLAIM_GONE,
    },
}
CELLS = [
    pytest.param(state, NAMED[named], outcome, id=f"{state} - {named}")
    for state, row in TABLE.items()
    for named, outcome in row.items()
]


class DeletionConformance(Conformance):
    @pytest.mark.parametrize(("state", "claim", "outcome"), CELLS)
    async def test_one_message_is_deleted_by_the_rules_of_the_table(
        self, inbox: Inbox, state: str, claim: str | None, outcome: DeleteOutcome
    ) -> None:
        message_id = await self._message(inbox, state)
        before = await inbox.get(message_id)
        assert await inbox.delete(message_id, claim=claim) is outcome
        left = await inbox.get(message_id)
        assert left == ([] if outcome is DELETED else before)

    async def _message(self, inbox: Inbox, state: str) -> str:
        """A message in ``state``, and every claim that the table names beside it."""
        others = await inbox.post("for other", "for emptied", "for ended")
        elsewhere = inbox.beside("elsewhere")
        await elsewhere.post("x")
        await elsewhere.claim(ELSEWHERE, ttl=HOUR)
        await inbox.claim(OTHER, limit=1, ttl=HOUR)
        await inbox.claim(EMPTIED, limit=1, ttl=HOUR)
        assert await inbox.delete(others[1], claim=EMPTIED) is DELETED
        if state == "its claim is over":
            [message_id] = await inbox.post("the one")
            await inbox.claim(ENDED, ttl=MINUTE)
        else:
            await inbox.claim(ENDED, limit=1, ttl=MINUTE)
            ttl = MINUTE if state == "has expired" else HOUR
            delay = {"delayed": HOUR, "claimed": MINUTE}.get(state, NOTHING)
            [message_id] = await inbox.post("the one", ttl=ttl, delay=delay)
        inbox.clock.advance(seconds=60)
        assert await inbox.delete_many(others[2])
        if state == "claimed":
            assert bodies(await inbox.claim(ITS_CLAIM, ttl=HOUR)) == ["the one"]
        if state == "does not exist":
            assert await inbox.delete(message_id) is DELETED
        return message_id

    async def test_a_deleted_message_is_gone_for_everyone(self, inbox: Inbox) -> None:
        [gone, stays] = await inbox.post("gone", "stays")
        assert await inbox.delete(gone) is DELETED
        assert await inbox.delete(gone) is MISSING
        assert await inbox.get(gone, stays) == await inbox.all()
        assert await inbox.listed() == ["stays"]
        assert await inbox.counts() == (1, 0, 0)
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.claim()) == ["stays"]

    async def test_a_message_deleted_under_its_claim_never_comes_back(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("done")
        await inbox.claim(1, ttl=MINUTE)
        assert await inbox.delete(message_id, claim=1) is DELETED
        inbox.clock.advance(seconds=60)
        await sweep_all(inbox.store, inbox.clock)
        assert await inbox.all() == []
        assert await inbox.claim(2) == []

    async def test_deleting_the_last_message_of_a_claim_releases_nothing(
        self, inbox: Inbox
    ) -> None:
        [a, b] = await inbox.post("a", "b")
        await inbox.claim(1, limit=1)
        await inbox.claim(2, limit=1)
        assert await inbox.delete(a, claim=1) is DELETED
        assert bodies(await inbox.all()) == ["b"]
        assert (await inbox.one(b)).claim_id == named_claim(2)

    async def test_a_worker_that_lost_its_claim_cannot_delete_under_the_next(
        self, inbox: Inbox
    ) -> None:
        [message_id] = await inbox.post("contested")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        assert await inbox.delete(message_id, claim=1) is CLAIM_GONE
        await inbox.claim(2)
        assert await inbox.delete(message_id, claim=1) is CLAIM_GONE
        assert await inbox.delete(message_id, claim=2) is DELETED

    @pytest.mark.parametrize("malformed", MALFORMED)
    async def test_a_malformed_message_id_is_a_message_that_does_not_exist(
        self, inbox: Inbox, malformed: str
    ) -> None:
        await inbox.post("stays")
        await inbox.claim(1)
        assert await inbox.delete(malformed) is MISSING
        assert await inbox.delete(malformed, claim=1) is MISSING
        assert await inbox.delete(malformed, claim=malformed) is MISSING
        assert await inbox.delete_many(malformed)
        assert len(await inbox.all()) == 1

    async def test_many_are_deleted_whatever_their_state(self, inbox: Inbox) -> None:
        [claimed] = await inbox.post("claimed")
        await inbox.claim(1)
        [delayed] = await inbox.post("delayed", delay=MINUTE)
        [ready, stays] = await inbox.post("ready", "stays")
        assert await inbox.delete_many(*MALFORMED, ready, claimed, delayed, "0" * 32, ready)
        assert bodies(await inbox.all()) == ["stays"]
        assert await inbox.get(stays) == await inbox.all()

    async def test_deleting_none_and_from_no_queue_is_fine(self, inbox: Inbox) -> None:
        assert await inbox.delete_many()
        assert await inbox.delete_many("0" * 32, claims=[1])
        assert await inbox.delete("0" * 32) is MISSING
        assert not await inbox.exists()

    async def test_many_are_deleted_when_each_is_in_a_named_live_claim(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b", "c")
        await inbox.claim(1, limit=1)
        await inbox.claim(2, limit=1)
        assert await inbox.delete_many(ids[0], ids[1], "0" * 32, claims=[1, 2, 3, "malformed"])
        assert bodies(await inbox.all()) == ["c"]

    @pytest.mark.parametrize(
        "claims",
        [
            pytest.param([], id="none"),
            pytest.param([2], id="only-the-other"),
            pytest.param([UNKNOWN_CLAIM], id="unknown"),
            pytest.param(["malformed"], id="malformed"),
            pytest.param([named_claim(1) + " "], id="almost"),
            pytest.param([3], id="over"),
            pytest.param([4], id="of-another-queue"),
        ],
    )
    async def test_not_one_is_deleted_when_a_claim_is_not_named(
        self, inbox: Inbox, claims: list[int | str]
    ) -> None:
        other = inbox.beside("other")
        await other.post("x")
        await other.claim(4, ttl=HOUR)
        [in_ended] = await inbox.post("in ended")
        await inbox.claim(3, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        await inbox.delete_many(in_ended)
        ids = await inbox.post("in one", "in two")
        await inbox.claim(1, limit=1)
        await inbox.claim(2, limit=1)
        before = await inbox.all()
        assert not await inbox.delete_many(*ids, claims=claims)
        assert await inbox.all() == before

    async def test_not_one_is_deleted_when_one_is_in_no_claim(self, inbox: Inbox) -> None:
        ids = await inbox.post("claimed", "free")
        await inbox.claim(1, limit=1)
        assert not await inbox.delete_many(*ids, claims=[1])
        [delayed] = await inbox.post("delayed", delay=MINUTE)
        assert not await inbox.delete_many(ids[0], delayed, claims=[1])
        assert len(await inbox.all()) == 3

    async def test_a_claim_that_is_over_no_longer_covers_its_messages(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        assert not await inbox.delete_many(*ids, claims=[1])
        assert await inbox.listed() == ["a", "b"]
