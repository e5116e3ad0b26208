"""The worked examples and table rows of the contract (lifecycle), where a store decides them.

Each test names its section. What the invariants decide differently (I9: a claim always ensures
the grace) is followed and said. Rows about other stores' defects are left out.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nuska.domain.messages import DeleteOutcome, Message
from nuska.domain.moments import Duration, age_in_seconds, iso, seconds, whole_seconds
from nuska.domain.queues import EMPTY_STATS
from nuska.interfaces.storage import Store, StoreOptions
from nuska.stores.memory import open_store as open_memory
from nuska.stores.sqlite import open_store as open_sqlite
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, bodies, sweep_all

OPENERS = {"memory": open_memory, "sqlite": open_sqlite}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=OPENERS)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Store]:
    store = await OPENERS[request.param](
        StoreOptions(
            url=f"{request.param}:",
            data_dir=str(tmp_path),
            now=clock.now(),
            random_bytes=seeded_bytes(),
        )
    )
    yield store
    await store.close()


@pytest.fixture
def inbox(store: Store, clock: ManualClock) -> Inbox:
    return Inbox(store, clock, name="jobs")


# ------------------------------------------------------------------------- §1 times as shown


async def test_1_ages_are_whole_seconds_since_creation_and_never_reset(inbox: Inbox) -> None:
    [message_id] = await inbox.post("a")
    inbox.clock.advance(milliseconds=12_999)
    await inbox.claim(1)
    await inbox.release(1)
    message = await inbox.one(message_id)
    assert age_in_seconds(message.created_at, inbox.now) == 12
    assert whole_seconds(message.ttl) == 3600


async def test_1_created_in_statistics_is_the_moment_of_the_post(inbox: Inbox) -> None:
    await inbox.post("a")
    stats = await inbox.stats()
    assert stats.oldest is not None
    assert iso(stats.oldest.created_at) == "2030-01-01T00:00:00Z"


# ------------------------------------------------------------------------ §2 queues are lazy


async def test_2_a_post_creates_the_queue_with_empty_metadata(inbox: Inbox) -> None:
    await inbox.post("a")
    queue = await inbox.store.queues.get(inbox.ref)
    assert queue is not None
    assert queue.metadata == {}


async def test_2_reading_a_missing_queue_gives_zeros_and_creates_nothing(inbox: Inbox) -> None:
    assert await inbox.store.queues.get(inbox.ref) is None
    assert await inbox.stats() == EMPTY_STATS
    assert await inbox.all() == []
    assert not await inbox.exists()


async def test_2_claim_pop_purge_and_delete_on_a_missing_queue_create_nothing(
    inbox: Inbox,
) -> None:
    assert await inbox.claim() == []
    assert await inbox.pop() == []
    await inbox.purge()
    assert await inbox.delete("0" * 32) is DeleteOutcome.MISSING
    assert await inbox.release(1) == 0
    await inbox.drop()
    assert not await inbox.exists()


async def test_2_metadata_of_a_missing_queue_cannot_be_changed(inbox: Inbox) -> None:
    await inbox.store.queues.create(inbox.ref, {}, now=inbox.now)
    read = await inbox.store.queues.get(inbox.ref)
    assert read is not None
    await inbox.drop()
    assert not await inbox.store.queues.replace_metadata(read, {"a": 1}, now=inbox.now)


async def test_2_a_deleted_and_recreated_queue_is_empty(inbox: Inbox) -> None:
    await inbox.post("old")
    await inbox.drop()
    await inbox.store.queues.create(inbox.ref, {}, now=inbox.now)
    assert await inbox.all() == []


# ------------------------------------------------------------------------ §3 message states

STATES = ["delayed", "available", "claimed", "expired"]
VISIBLE = {
    "list": [False, True, False, False],
    "list include_delayed": [True, True, False, False],
    "list include_claimed": [False, True, True, False],
    "get by id": [True, True, True, False],
    "claim": [False, True, False, False],
    "pop": [False, True, False, False],
    "single DELETE": [True, True, False, False],
    "single DELETE with its claim id": [False, False, True, False],
    "bulk DELETE by ids": [True, True, True, False],
}
ROWS = [
    pytest.param(what, state, seen, id=f"{what} - {state}")
    for what, row in VISIBLE.items()
    for state, seen in zip(STATES, row, strict=True)
]
THE_CLAIM, ANOTHER_CLAIM = 1, 2


async def in_state(inbox: Inbox, state: str) -> str:
    """A message in that state, now."""
    delay = HOUR if state == "delayed" else Duration(0)
    ttl = MINUTE if state == "expired" else Duration(2 * HOUR)
    [message_id] = await inbox.post("the one", ttl=ttl, delay=delay)
    inbox.clock.advance(seconds=60)
    if state == "claimed":
        await inbox.claim(THE_CLAIM)
    return message_id


@pytest.mark.parametrize(("what", "state", "seen"), ROWS)
async def test_3_visible_to(inbox: Inbox, what: str, state: str, seen: bool) -> None:
    message_id = await in_state(inbox, state)
    assert await _sees(inbox, what, message_id) == seen
    left = await inbox.get(message_id)
    deleted = seen and ("DELETE" in what or what == "pop")
    assert bool(left) == (state != "expired" and not deleted)


async def _sees(inbox: Inbox, what: str, message_id: str) -> bool:
    match what:
        case "list":
            return bool(await inbox.listed())
        case "list include_delayed":
            return bool((await inbox.page(include_delayed=True)).messages)
        case "list include_claimed":
            return bool((await inbox.page(include_claimed=True)).messages)
        case "get by id":
            return bool(await inbox.get(message_id))
        case "claim":
            return bool(await inbox.claim(ANOTHER_CLAIM))
        case "pop":
            return bool(await inbox.pop())
        case "single DELETE":
            return await inbox.delete(message_id) is DeleteOutcome.DELETED
        case "single DELETE with its claim id":
            return await inbox.delete(message_id, claim=THE_CLAIM) is DeleteOutcome.DELETED
        case _:
            before = len(await inbox.get(message_id))
            assert await inbox.delete_many(message_id)
            return before > len(await inbox.get(message_id))


@pytest.mark.parametrize(
    ("state", "free", "claimed"),
    [("delayed", 1, 0), ("available", 1, 0), ("claimed", 0, 1), ("expired", 0, 0)],
)
async def test_3_counted_in_statistics_as(
    inbox: Inbox, state: str, free: int, claimed: int
) -> None:
    await in_state(inbox, state)
    stats = await inbox.stats()
    assert (stats.ready + stats.delayed, stats.claimed) == (free, claimed)


async def test_3_expiry_in_every_state_is_creation_plus_ttl(inbox: Inbox) -> None:
    await inbox.post("delayed", ttl=HOUR, delay=HOUR)
    await inbox.post("claimed", ttl=HOUR)
    await inbox.claim(1, ttl=MINUTE)
    await inbox.post("available", ttl=HOUR)
    inbox.clock.advance(milliseconds=HOUR - 1)
    assert len(await inbox.all()) == 3
    inbox.clock.advance(milliseconds=1)
    assert await inbox.all() == []


# ------------------------------------------------------------------ §4 ordering and delivery


async def test_4_order_within_a_post_is_kept_in_ids_listing_and_claims(inbox: Inbox) -> None:
    ids = await inbox.post("a", "b", "c", "d")
    assert bodies(await inbox.get(*ids)) == ["a", "b", "c", "d"]
    assert await inbox.listed() == ["a", "b", "c", "d"]
    assert bodies(await inbox.claim()) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("how", ["expiry", "release"])
async def test_4_after_an_ended_claim_a_message_returns_to_its_original_position(
    inbox: Inbox, how: str
) -> None:
    await inbox.post("a", "b", "c")
    await inbox.claim(1, limit=1, ttl=MINUTE)
    if how == "release":
        await inbox.release(1)
    else:
        inbox.clock.advance(seconds=60)
    assert bodies(await inbox.pop()) == ["a", "b", "c"]


async def test_4_following_markers_until_an_empty_page_misses_and_repeats_nothing(
    inbox: Inbox,
) -> None:
    ids = await inbox.post("a", "b", "c")
    first = await inbox.page(limit=2)
    await inbox.delete(ids[1])  # the marker message itself
    second = await inbox.page(limit=2, after=first.marker)
    empty = await inbox.page(limit=2, after=second.marker)
    await inbox.post("d")
    later = await inbox.page(limit=2, after=empty.marker)
    walked = first.messages + second.messages + empty.messages + later.messages
    assert bodies(walked) == ["a", "b", "c", "d"]


async def test_4_echo_hides_the_readers_own_messages_from_lists_only(inbox: Inbox) -> None:
    [own] = await inbox.post("own", poster=b"me")
    assert (await inbox.page(hide_poster=b"me")).messages == []
    assert bodies(await inbox.get(own)) == ["own"]
    assert bodies(await inbox.claim(1)) == ["own"]


# -------------------------------------------------------------------- §5 claims: arithmetic


def shown(message: Message, inbox: Inbox) -> tuple[int, int, int]:
    """Seconds: the ttl shown, the age shown, the life that is left."""
    return (
        whole_seconds(message.ttl),
        age_in_seconds(message.created_at, inbox.now),
        whole_seconds(message.expires_at - inbox.now),
    )


async def test_5_example_a_just_posted_with_ttl_60_is_shown_300_and_lives_300(
    inbox: Inbox,
) -> None:
    await inbox.post("A", ttl=seconds(60))
    [a] = await inbox.claim(ttl=seconds(100), grace=seconds(200))
    assert shown(a, inbox) == (300, 0, 300)


async def test_5_example_b_with_ttl_400_is_untouched(inbox: Inbox) -> None:
    await inbox.post("B", ttl=seconds(400))
    [b] = await inbox.claim(ttl=seconds(100), grace=seconds(200))
    assert shown(b, inbox) == (400, 0, 400)


async def test_5_aged_50_with_ttl_60_is_shown_ttl_300_age_50_and_lives_300(inbox: Inbox) -> None:
    await inbox.post("aged", ttl=seconds(60))
    inbox.clock.advance(seconds=50)
    [aged] = await inbox.claim(ttl=seconds(100), grace=seconds(200))
    assert shown(aged, inbox) == (300, 50, 300)
    inbox.clock.advance(seconds=299)
    assert len(await inbox.all()) == 1
    inbox.clock.advance(seconds=1)
    assert await inbox.all() == []


async def test_5_the_grace_is_ensured_also_when_the_message_outlives_the_claim(
    inbox: Inbox,
) -> None:
    """The documented intent (I9), not the exception of the arithmetic's third step."""
    await inbox.post("between", ttl=seconds(200))
    [between] = await inbox.claim(ttl=seconds(100), grace=seconds(200))
    assert shown(between, inbox) == (300, 0, 300)


async def test_5_a_claim_is_live_before_its_end_and_over_at_it(inbox: Inbox) -> None:
    await inbox.post("a")
    await inbox.claim(1, ttl=seconds(100))
    inbox.clock.advance(milliseconds=99_999)
    assert await inbox.held(1) is not None
    inbox.clock.advance(milliseconds=1)
    assert await inbox.held(1) is None


async def test_5_renewing_restarts_the_age_and_takes_the_new_ttl(inbox: Inbox) -> None:
    await inbox.post("a", ttl=seconds(120))
    await inbox.claim(1, ttl=seconds(100), grace=Duration(0))
    inbox.clock.advance(seconds=90)
    assert await inbox.renew(1, ttl=seconds(300), grace=seconds(60))
    held = await inbox.held(1)
    assert held is not None
    assert (age_in_seconds(held.started_at, inbox.now), whole_seconds(held.ttl)) == (0, 300)
    assert shown(held.messages[0], inbox) == (360, 90, 360)


async def test_5_renewing_after_the_end_is_refused(inbox: Inbox) -> None:
    await inbox.post("a")
    await inbox.claim(1, ttl=seconds(100))
    inbox.clock.advance(seconds=100)
    assert not await inbox.renew(1)


async def test_5_reading_a_claim_tells_its_age_and_ttl(inbox: Inbox) -> None:
    await inbox.post("a")
    await inbox.claim(1, ttl=seconds(120))
    inbox.clock.advance(milliseconds=3999)
    held = await inbox.held(1)
    assert held is not None
    assert (age_in_seconds(held.started_at, inbox.now), whole_seconds(held.ttl)) == (3, 120)


async def test_5_a_released_message_is_available_at_once_and_keeps_its_longer_life(
    inbox: Inbox,
) -> None:
    await inbox.post("a", ttl=seconds(60))
    await inbox.claim(1, ttl=seconds(100), grace=seconds(200))
    await inbox.release(1)
    [message] = (await inbox.page()).messages
    assert shown(message, inbox) == (300, 0, 300)
    assert message.claim_count == 1


# ------------------------------------------------------------------------ §6 delayed messages


async def test_6_due_is_post_time_plus_delay(inbox: Inbox) -> None:
    await inbox.post("a", delay=seconds(30))
    inbox.clock.advance(milliseconds=29_999)
    assert await inbox.claim(1) == []
    inbox.clock.advance(milliseconds=1)
    assert bodies(await inbox.claim(2)) == ["a"]


async def test_6_a_delay_of_the_ttl_or_longer_is_never_deliverable(inbox: Inbox) -> None:
    await inbox.post("same", ttl=MINUTE, delay=MINUTE)
    await inbox.post("longer", ttl=MINUTE, delay=HOUR)
    for _ in range(3):
        inbox.clock.advance(seconds=60)
        assert await inbox.claim(1) == []
        assert await inbox.pop() == []


async def test_6_the_delay_of_each_message_counts_not_only_of_the_first(inbox: Inbox) -> None:
    await inbox.post("free")
    await inbox.post("delayed", delay=MINUTE)
    assert bodies(await inbox.claim(1)) == ["free"]


async def test_6_pop_honours_the_delay(inbox: Inbox) -> None:
    await inbox.post("delayed", delay=MINUTE)
    assert await inbox.pop() == []


async def test_6_changing_the_queue_releases_no_stored_message(inbox: Inbox) -> None:
    """Later changes of the switch do not touch what is stored (issue: additions, item 3)."""
    await inbox.store.queues.create(inbox.ref, {"_default_message_delay": 60}, now=inbox.now)
    await inbox.post("delayed", delay=MINUTE)
    read = await inbox.store.queues.get(inbox.ref)
    assert read is not None
    await inbox.store.queues.replace_metadata(read, {}, now=inbox.now)
    assert await inbox.listed() == []
    inbox.clock.advance(seconds=60)
    assert await inbox.listed() == ["delayed"]


async def test_6_a_message_that_becomes_due_keeps_its_original_post_position(
    inbox: Inbox,
) -> None:
    await inbox.post("delayed", delay=MINUTE)
    await inbox.post("free")
    inbox.clock.advance(seconds=60)
    assert await inbox.listed() == ["delayed", "free"]


# -------------------------------------------------------------------- §7 dead-letter queues


async def test_7_with_2_the_third_claim_moves_it_and_answers_with_nothing(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    for number in (1, 2):
        assert bodies(await inbox.claim(number, dead_letters=dead.rule(2))) == ["poison"]
        inbox.clock.advance(seconds=60)
    third = await inbox.claiming(3, dead_letters=dead.rule(2))
    assert (third.messages, third.dead_lettered) == ([], 1)
    assert bodies(await dead.all()) == ["poison"]


@pytest.mark.parametrize("count", [0, -3])
async def test_7_with_0_or_less_it_is_moved_at_the_first_claim(inbox: Inbox, count: int) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    assert await inbox.claim(1, dead_letters=dead.rule(count)) == []
    assert await dead.listed() == ["poison"]


async def test_7_nothing_moves_by_itself_when_a_claim_ends(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    await inbox.claim(1, dead_letters=dead.rule(1))
    inbox.clock.advance(seconds=60)
    await sweep_all(inbox.store, inbox.clock)
    assert await inbox.listed() == ["poison"]
    assert not await dead.exists()


@pytest.mark.parametrize("end", ["expiry", "release", "renewal and expiry"])
async def test_7_every_delivery_counts_whatever_its_end(inbox: Inbox, end: str) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    await inbox.claim(1, dead_letters=dead.rule(1))
    if end == "release":
        await inbox.release(1)
    elif end == "expiry":
        inbox.clock.advance(seconds=60)
    else:
        inbox.clock.advance(seconds=30)
        await inbox.renew(1)
        inbox.clock.advance(seconds=60)
    assert (await inbox.claiming(2, dead_letters=dead.rule(1))).dead_lettered == 1


async def test_7_a_moved_message_keeps_id_body_creation_poster_and_count(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    [message_id] = await inbox.post("poison", poster=b"me")
    await inbox.claim(1)
    await inbox.release(1)
    before = await inbox.one(message_id)
    inbox.clock.advance(seconds=30)
    await inbox.claim(2, dead_letters=dead.rule(1))
    [moved] = await dead.all()
    kept = ["id", "body", "created_at", "poster", "claim_count", "expires_at", "ttl"]
    assert [getattr(moved, name) for name in kept] == [getattr(before, name) for name in kept]
    assert await inbox.get(message_id) == []


async def test_7_a_moved_message_is_available_at_once(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    await inbox.claim(1, ttl=HOUR, dead_letters=dead.rule(0))
    assert await dead.counts() == (1, 0, 0)
    assert bodies(await dead.claim(2)) == ["poison"]


async def test_7_the_dead_letter_ttl_counts_from_the_move(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison", ttl=HOUR)
    inbox.clock.advance(seconds=3000)
    await inbox.claim(1, dead_letters=dead.rule(0, ttl=seconds(7200)))
    [moved] = await dead.all()
    assert shown(moved, inbox) == (7200, 3000, 7200)


async def test_7_moved_messages_are_appended_at_the_end(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    await dead.post("earlier in this queue")
    await inbox.claim(1, dead_letters=dead.rule(0))
    assert await dead.listed() == ["earlier in this queue", "poison"]


async def test_7_the_dead_letter_queue_is_created_and_visible(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("poison")
    await inbox.claim(1, dead_letters=dead.rule(0))
    assert await dead.exists()
    assert await dead.counts() == (1, 0, 0)


async def test_7_loops_are_possible_and_end(inbox: Inbox) -> None:
    other = inbox.beside("other")
    await inbox.post("a", "b")
    await inbox.claim(1, dead_letters=inbox.rule(0))
    assert await inbox.listed() == ["a", "b"]
    await inbox.claim(2, dead_letters=other.rule(0))
    await other.claim(3, dead_letters=inbox.rule(0))
    assert (await inbox.listed(), await other.listed()) == (["a", "b"], [])


@pytest.mark.parametrize("name", ["1", "x.y", "jobs.messages", "ü"])
async def test_7_any_name_can_be_a_dead_letter_queue(inbox: Inbox, name: str) -> None:
    dead = inbox.beside(name)
    await inbox.post("poison")
    await inbox.claim(1, dead_letters=dead.rule(0))
    assert await dead.listed() == ["poison"]


async def test_7_popping_does_not_count(inbox: Inbox) -> None:
    dead = inbox.beside("jobs-dead")
    await inbox.post("a")
    await inbox.put_back(await inbox.pop())
    assert bodies(await inbox.claim(1, dead_letters=dead.rule(1))) == ["a"]


# ------------------------------------------------------------------------- §8 deletion rules


async def test_8_deleting_the_last_message_of_a_claim_releases_nothing(inbox: Inbox) -> None:
    [first] = await inbox.post("a")
    await inbox.claim(1)
    await inbox.post("b")
    await inbox.claim(2)
    await inbox.delete(first, claim=1)
    assert await inbox.listed() == []
    assert await inbox.held(1) is not None
