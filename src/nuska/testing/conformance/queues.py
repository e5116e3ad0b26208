"""Queues: creating, metadata and its guard, listing, filters, deleting, purging."""

import asyncio

import pytest

from nuska.domain.messages import QueueRef
from nuska.domain.queues import EMPTY_STATS, Metadata, Queue
from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
)

AWKWARD_METADATA: Metadata = {
    "z": 1,
    "a": None,
    "": "",
    "a.b": {"$x": [1, 2.5, True, {"deep": []}]},
    'quote"and\\slash': "line\nbreak\ttab",
    "größe": "𝄞 \x00 \u2028",
    "big": 2**63 - 1,
    "small": -(2**63),
    "_reserved": "kept",
}
NAMES_BY_CODE_POINT = ["-", ".", "0", "A", "Z", "_", "a", "a-", "aa", "é", "\uffff", "𝄞"]


async def make(store: Store, clock: ManualClock, *names: str, project: str = "acme") -> None:
    for name in names:
        assert await store.queues.create(QueueRef(project, name), {}, now=clock.now())


async def names(
    store: Store,
    *,
    project: str = "acme",
    after: str | None = None,
    limit: int = 100,
    name_contains: str | None = None,
    metadata_equals: Metadata | None = None,
) -> list[str]:
    """Those listed, which are the same without metadata."""
    with_metadata, without = [
        await store.queues.page(
            project,
            after=after,
            limit=limit,
            name_contains=name_contains,
            metadata_equals=metadata_equals,
            with_metadata=wanted,
        )
        for wanted in (True, False)
    ]
    listed = [queue.ref.name for queue in with_metadata]
    assert [queue.ref.name for queue in without] == listed
    return listed


class QueueConformance(Conformance):
    async def test_a_created_queue_shows_what_it_was_created_with(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        assert await queues.create(inbox.ref, {"team": "red"}, relaxed=True, now=inbox.now)
        queue = await queues.get(inbox.ref)
        assert queue is not None
        assert (queue.ref, queue.metadata, queue.relaxed) == (inbox.ref, {"team": "red"}, True)
        assert await queues.page("acme", after=None, limit=5) == [queue]

    async def test_a_queue_nobody_created_is_none(self, inbox: Inbox) -> None:
        assert await inbox.store.queues.get(inbox.ref) is None

    async def test_creating_a_queue_that_exists_changes_nothing(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        await queues.create(inbox.ref, {"first": True}, now=inbox.now)
        await inbox.post("stays")
        before = await queues.get(inbox.ref)
        assert not await queues.create(inbox.ref, {"second": 2}, relaxed=True, now=inbox.now)
        assert await queues.get(inbox.ref) == before
        assert await inbox.listed() == ["stays"]

    async def test_metadata_comes_back_as_it_was_given(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        await queues.create(inbox.ref, AWKWARD_METADATA, now=inbox.now)
        queue = await queues.get(inbox.ref)
        assert queue is not None
        assert list(queue.metadata.items()) == list(AWKWARD_METADATA.items())

    async def test_what_the_caller_does_to_its_metadata_later_is_not_seen(
        self, inbox: Inbox
    ) -> None:
        mine: Metadata = {"list": [1]}
        await inbox.store.queues.create(inbox.ref, mine, now=inbox.now)
        mine["more"] = True
        assert isinstance(mine["list"], list)
        mine["list"].append(2)
        queue = await inbox.store.queues.get(inbox.ref)
        assert queue is not None
        assert queue.metadata == {"list": [1]}

    async def test_replaced_metadata_is_seen_and_its_version_goes_up(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        await queues.create(inbox.ref, {"old": 1}, now=inbox.now)
        read = await queues.get(inbox.ref)
        assert read is not None
        assert await queues.replace_metadata(read, {"new": 2}, relaxed=True, now=inbox.now)
        seen = await queues.get(inbox.ref)
        assert seen is not None
        assert (seen.metadata, seen.relaxed) == ({"new": 2}, True)
        assert seen.version > read.version

    async def test_replacing_metadata_that_has_changed_since_is_refused(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        await queues.create(inbox.ref, {}, now=inbox.now)
        read = await queues.get(inbox.ref)
        assert read is not None
        assert await queues.replace_metadata(read, {"by": "first"}, now=inbox.now)
        assert not await queues.replace_metadata(
            read, {"by": "second"}, relaxed=True, now=inbox.now
        )
        seen = await queues.get(inbox.ref)
        assert seen is not None
        assert (seen.metadata, seen.relaxed) == ({"by": "first"}, False)

    async def test_of_many_replacements_at_once_exactly_one_wins(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        await queues.create(inbox.ref, {}, now=inbox.now)
        read = await queues.get(inbox.ref)
        assert read is not None
        won = await asyncio.gather(
            *(queues.replace_metadata(read, {"by": n}, now=inbox.now) for n in range(10))
        )
        seen = await queues.get(inbox.ref)
        assert seen is not None
        assert sum(won) == 1
        assert seen.metadata == {"by": won.index(True)}

    async def test_metadata_of_a_queue_that_is_gone_cannot_be_replaced(self, inbox: Inbox) -> None:
        queues = inbox.store.queues
        never = Queue(ref=inbox.beside("never").ref, metadata={})
        assert not await queues.replace_metadata(never, {"x": 1}, now=inbox.now)
        await queues.create(inbox.ref, {}, now=inbox.now)
        read = await queues.get(inbox.ref)
        assert read is not None
        await inbox.drop()
        assert not await queues.replace_metadata(read, {"x": 1}, now=inbox.now)
        assert await queues.count("acme") == 0

    async def test_replacing_metadata_leaves_messages_alone(self, inbox: Inbox) -> None:
        await inbox.post("claimed", "ready")
        await inbox.claim(limit=1)
        await inbox.post("delayed", delay=MINUTE)
        before = await inbox.all()
        read = await inbox.store.queues.get(inbox.ref)
        assert read is not None
        await inbox.store.queues.replace_metadata(read, {"_x": 1}, now=inbox.now)
        assert await inbox.all() == before
        assert await inbox.counts() == (1, 1, 1)

    async def test_queues_are_listed_by_code_point(self, store: Store, clock: ManualClock) -> None:
        await make(store, clock, *reversed(NAMES_BY_CODE_POINT))
        assert await names(store) == NAMES_BY_CODE_POINT

    @pytest.mark.parametrize("limit", [1, 2, 5])
    async def test_a_walk_over_pages_of_queues_sees_each_once(
        self, store: Store, clock: ManualClock, limit: int
    ) -> None:
        await make(store, clock, *NAMES_BY_CODE_POINT)
        walked: list[str] = []
        after: str | None = None
        while page := await names(store, after=after, limit=limit):
            walked += page
            after = page[-1]
        assert walked == NAMES_BY_CODE_POINT

    async def test_a_page_of_queues_may_start_after_a_name_that_does_not_exist(
        self, store: Store, clock: ManualClock
    ) -> None:
        await make(store, clock, "a", "c")
        assert await names(store, after="b") == ["c"]
        assert await names(store, after="d") == []

    @pytest.mark.parametrize(
        ("part", "found"),
        [
            ("b", ["abc", "b"]),
            ("abc", ["abc"]),
            ("B", ["B"]),
            ("%", ["50%"]),
            ("_", ["a_c"]),
            (".", ["a.c"]),
            ("*", ["a*c"]),
            ("[", ["a[c"]),
            ("a.c", ["a.c"]),
            ("a_c", ["a_c"]),
            ("nowhere", []),
            ("", ["50%", "B", "a*c", "a.c", "a[c", "a_c", "abc", "b"]),
        ],
    )
    async def test_the_name_filter_is_a_plain_substring(
        self, store: Store, clock: ManualClock, part: str, found: list[str]
    ) -> None:
        await make(store, clock, "abc", "b", "B", "50%", "a_c", "a.c", "a*c", "a[c")
        assert await names(store, name_contains=part) == found

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"n": 1}, ["number"]),
            ({"n": "1"}, ["text"]),
            ({"n": True}, ["truth"]),
            ({"n": None}, ["nothing"]),
            ({"n": [1]}, ["list"]),
            ({"n": {"a": 1, "b": 2}}, ["object"]),
            ({"n": 2}, []),
            ({"m": None}, []),
            ({"a": 1}, []),
            ({"n.a": 1}, ["dotted"]),
            ({'n"': 1}, ["quoted"]),
            ({"n": 1, "other": "x"}, ["number"]),
            ({"n": 1, "other": "y"}, []),
        ],
    )
    async def test_the_metadata_filter_compares_type_and_value_of_top_level_pairs(
        self, store: Store, clock: ManualClock, wanted: Metadata, found: list[str]
    ) -> None:
        stored: dict[str, Metadata] = {
            "number": {"n": 1, "other": "x"},
            "text": {"n": "1"},
            "truth": {"n": True},
            "nothing": {"n": None},
            "list": {"n": [1]},
            "object": {"n": {"b": 2, "a": 1}},
            "dotted": {"n.a": 1},
            "quoted": {'n"': 1},
            "empty": {},
        }
        for name, metadata in stored.items():
            await store.queues.create(QueueRef("acme", name), metadata, now=clock.now())
        assert await names(store, metadata_equals=wanted) == found

    async def test_a_filtered_page_is_full_unless_the_end_was_reached(
        self, store: Store, clock: ManualClock
    ) -> None:
        for number in range(40):
            metadata: Metadata = {"odd": number % 2}
            ref = QueueRef("acme", f"queue-{number:02}")
            await store.queues.create(ref, metadata, now=clock.now())
        first = await names(store, limit=15, metadata_equals={"odd": 1}, name_contains="queue")
        rest = await names(store, after=first[-1], limit=15, metadata_equals={"odd": 1})
        assert (len(first), len(rest)) == (15, 5)

    async def test_a_project_counts_and_lists_its_own_queues_only(
        self, store: Store, clock: ManualClock
    ) -> None:
        await make(store, clock, "a", "b")
        await make(store, clock, "c", project="other")
        assert await store.queues.count("acme") == 2
        assert await names(store) == ["a", "b"]
        assert await store.queues.count("nobody") == 0
        assert await names(store, project="nobody") == []

    async def test_reading_and_taking_create_no_queue(self, inbox: Inbox) -> None:
        assert await inbox.all() == []
        assert await inbox.pop() == []
        assert await inbox.claim() == []
        assert await inbox.stats() == EMPTY_STATS
        assert await inbox.next_due() is None
        assert await inbox.delete_many("0" * 32)
        await inbox.purge()
        await inbox.drop()
        assert await inbox.store.queues.count("acme") == 0

    async def test_a_post_creates_its_queue_with_no_metadata(self, inbox: Inbox) -> None:
        await inbox.post("first")
        queue = await inbox.store.queues.get(inbox.ref)
        assert queue is not None
        assert (queue.metadata, queue.relaxed) == ({}, False)
        assert await names(inbox.store) == ["inbox"]

    async def test_deleting_a_queue_leaves_nothing_of_it(self, inbox: Inbox) -> None:
        await inbox.store.queues.create(inbox.ref, {"team": "red"}, now=inbox.now)
        ids = await inbox.post("claimed", "ready")
        await inbox.claim(1, limit=1)
        await inbox.post("delayed", delay=MINUTE)
        await inbox.drop()
        assert not await inbox.exists()
        assert await inbox.all() == []
        assert await inbox.get(*ids) == []
        assert await inbox.pop() == []
        assert await inbox.claim(2) == []
        assert await inbox.held(1) is None
        assert not await inbox.renew(1)
        assert await inbox.stats() == EMPTY_STATS
        assert await inbox.store.queues.count("acme") == 0

    async def test_a_queue_created_anew_starts_empty_and_stays_so(self, inbox: Inbox) -> None:
        await inbox.store.queues.create(inbox.ref, {"team": "red"}, relaxed=True, now=inbox.now)
        ids = await inbox.post("claimed", "ready", ttl=HOUR)
        await inbox.post("delayed", delay=MINUTE)
        await inbox.claim(1, limit=1)
        await inbox.drop()
        await inbox.post("new")
        queue = await inbox.store.queues.get(inbox.ref)
        assert queue is not None
        assert (queue.metadata, queue.relaxed) == ({}, False)
        assert await inbox.get(*ids) == []
        assert await inbox.held(1) is None
        assert await inbox.release(1) == 0
        inbox.clock.advance(seconds=61)  # the old claim and the old delay would end
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.all()) == ["new"]
        assert await inbox.counts() == (1, 0, 0)

    async def test_a_queue_read_before_its_deletion_is_not_the_one_created_anew(
        self, inbox: Inbox
    ) -> None:
        queues = inbox.store.queues
        await queues.create(inbox.ref, {"old": True}, now=inbox.now)
        read = await queues.get(inbox.ref)
        assert read is not None
        await inbox.drop()
        await queues.create(inbox.ref, {"new": True}, now=inbox.now)
        assert not await queues.replace_metadata(read, {"old": False}, now=inbox.now)
        seen = await queues.get(inbox.ref)
        assert seen is not None
        assert seen.metadata == {"new": True}

    async def test_a_purge_removes_every_message_and_claim_and_keeps_the_queue(
        self, inbox: Inbox
    ) -> None:
        await inbox.store.queues.create(inbox.ref, {"team": "red"}, now=inbox.now)
        before = await inbox.store.queues.get(inbox.ref)
        ids = await inbox.post("claimed", "ready")
        await inbox.post("delayed", delay=MINUTE)
        await inbox.claim(1, limit=1)
        await inbox.purge()
        assert await inbox.store.queues.get(inbox.ref) == before
        assert await inbox.all() == []
        assert await inbox.get(*ids) == []
        assert await inbox.held(1) is None
        assert not await inbox.renew(1)
        assert await inbox.release(1) == 0
        assert await inbox.next_due() is None
        assert await inbox.stats() == EMPTY_STATS

    async def test_a_purged_queue_goes_on_as_any_other(self, inbox: Inbox) -> None:
        await inbox.post("old", "older")
        await inbox.claim(1, limit=1)
        await inbox.purge()
        await inbox.post("new")
        inbox.clock.advance(seconds=61)
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.all()) == ["new"]
        assert bodies(await inbox.claim(2)) == ["new"]

    async def test_purging_and_deleting_touch_no_other_queue(self, inbox: Inbox) -> None:
        neighbours = [inbox.beside("inbox2"), inbox.beside("inbo"), inbox.beside(project="b")]
        for neighbour in [inbox, *neighbours]:
            await neighbour.post("here")
        await inbox.purge()
        await inbox.drop()
        await sweep_all(inbox.store, inbox.clock)
        for neighbour in neighbours:
            assert await neighbour.listed() == ["here"]
