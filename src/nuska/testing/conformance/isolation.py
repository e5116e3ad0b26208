"""Tenants: no call by one project reads, changes or counts another's data (I17).

Names are compared literally, and no name of a project or queue runs into another
(quirks S5, S6).
"""

from collections.abc import Awaitable, Callable
from itertools import product

import pytest

from nuska.domain.messages import QueueRef
from nuska.domain.queues import Metadata, Queue
from nuska.interfaces.storage import Store
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    UNKNOWN_CLAIM,
    Conformance,
    Inbox,
    bodies,
    named_claim,
    sweep_all,
)

HOSTILE_PROJECTS = [
    "a", "A", "a.b", "a:b", "a/b", "%", "_", "a%", "x' OR '1'='1", "gr\u00f6\u00dfe",
    "gro\u0308\u00dfe", "𝄞", " a", "a ", "a\x00b", "\N{ZERO WIDTH SPACE}a", "é" * 256,
]  # fmt: skip
HOSTILE_NAMES = [
    "x", "x.messages", "queues_set", "a.b", "a:b", "a/b", "b", "b.c", "c", "%", "_", "X", "x.",
    ".x", "..", "-", "--", "x%", "null", "0", "00",
]  # fmt: skip
COLLISIONS = [
    (("a", "b.c"), ("a.b", "c")),
    (("a", "b:c"), ("a:b", "c")),
    (("a", "b/c"), ("a/b", "c")),
    (("a", "bc"), ("ab", "c")),
    (("a", "b c"), ("a b", "c")),
    (("", "a"), ("a", "")),
    (("a", "b\x00c"), ("a\x00b", "c")),
]


class IsolationConformance(Conformance):
    @pytest.mark.parametrize(("one", "other"), COLLISIONS)
    async def test_names_that_join_to_the_same_text_are_different_queues(
        self,
        store: Store,
        clock: ManualClock,
        one: tuple[str, str],
        other: tuple[str, str],
    ) -> None:
        mine = Inbox(store, clock, name=one[1], project=one[0])
        yours = Inbox(store, clock, name=other[1], project=other[0])
        await mine.post("mine")
        assert not await yours.exists()
        await yours.post("yours")
        assert (await mine.listed(), await yours.listed()) == (["mine"], ["yours"])
        await mine.drop()
        await sweep_all(store, clock)
        assert await yours.listed() == ["yours"]

    async def test_no_name_of_a_queue_runs_into_another(
        self, store: Store, clock: ManualClock
    ) -> None:
        boxes = [Inbox(store, clock, name=name) for name in HOSTILE_NAMES]
        await self._live_side_by_side(boxes)
        listed = await store.queues.page("acme", after=None, limit=100)
        assert [queue.ref.name for queue in listed] == sorted(HOSTILE_NAMES)

    async def test_no_name_of_a_project_runs_into_another(
        self, store: Store, clock: ManualClock
    ) -> None:
        boxes = [Inbox(store, clock, project=project) for project in HOSTILE_PROJECTS]
        await self._live_side_by_side(boxes)
        for project in set(HOSTILE_PROJECTS):
            assert await store.queues.count(project) == 1

    async def _live_side_by_side(self, boxes: list[Inbox]) -> None:
        boxes = list({box.ref: box for box in boxes}.values())
        for box in boxes:
            own: Metadata = {"own": [box.ref.project, box.ref.name]}
            assert await box.store.queues.create(box.ref, own, now=box.now)
            await box.post("claimed", repr(box.ref))
            await box.claim(1, limit=1)
        for box in boxes[::2]:
            await box.purge()
        for box in boxes[::3]:
            await box.drop()
        await sweep_all(boxes[0].store, boxes[0].clock)
        for number, box in enumerate(boxes):
            queue = await box.store.queues.get(box.ref)
            if number % 3 == 0:
                assert queue is None
                await box.post("anew")
            elif number % 2 == 0:
                assert await box.all() == []
            else:
                assert queue is not None
                assert queue.metadata == {"own": [box.ref.project, box.ref.name]}
                assert bodies(await box.all()) == ["claimed", repr(box.ref)]
                assert await box.counts() == (1, 0, 1)

    async def test_a_claim_id_used_by_two_tenants_is_two_claims(self, inbox: Inbox) -> None:
        other = inbox.beside(project="other")
        await inbox.post("mine")
        await other.post("yours")
        assert bodies(await inbox.claim(1, ttl=MINUTE)) == ["mine"]
        assert bodies(await other.claim(1, ttl=HOUR)) == ["yours"]
        assert await inbox.release(1) == 1
        held = await other.held(1)
        assert held is not None
        assert bodies(held.messages) == ["yours"]

    @pytest.mark.parametrize(
        ("project", "name"),
        [("other", "inbox"), ("acme", "other"), ("ACME", "inbox"), ("acm", "inbox")],
    )
    @pytest.mark.parametrize("has_queue", [False, True], ids=["no-queue", "own-queue"])
    async def test_ids_from_elsewhere_are_ids_that_do_not_exist(
        self, inbox: Inbox, project: str, name: str, has_queue: bool
    ) -> None:
        ids = [*await inbox.post("claimed", "ready", ttl=HOUR)]
        await inbox.claim(1, limit=1, ttl=HOUR)
        ids += await inbox.post("delayed", delay=MINUTE)
        before = (await inbox.all(), await inbox.stats(), await inbox.held(1))
        stranger = inbox.beside(name, project)
        if has_queue:
            await stranger.post("own")
            await stranger.claim(2)
        known, unknown = [*ids, named_claim(1)], ["0" * 32, "f" * 32, "0" * 32, UNKNOWN_CLAIM]
        for call in self._calls(stranger):
            assert await call(known) == await call(unknown)
        after = (await inbox.all(), await inbox.stats(), await inbox.held(1))
        assert after == before

    def _calls(self, box: Inbox) -> list[Callable[[list[str]], Awaitable[object]]]:
        """Everything that takes ids, as functions of three message ids and a claim id."""

        async def get(ids: list[str]) -> object:
            return await box.get(*ids)

        async def held(ids: list[str]) -> object:
            return await box.held(ids[-1])

        async def renew(ids: list[str]) -> object:
            return await box.renew(ids[-1], ttl=HOUR)

        async def release(ids: list[str]) -> object:
            return await box.release(ids[-1], uncount=True)

        async def delete(ids: list[str]) -> object:
            return [
                await box.delete(message_id, claim=claim)
                for message_id, claim in product(ids[:3], [None, 2, ids[-1]])
            ]

        async def delete_many(ids: list[str]) -> object:
            return (
                await box.delete_many(*ids[:3]),
                await box.delete_many(*ids[:3], claims=[ids[-1]]),
                await box.delete_many(*ids[:3], claims=[]),
            )

        return [get, held, renew, release, delete, delete_many]

    async def test_what_one_project_does_to_all_its_queues_touches_no_other(
        self, inbox: Inbox
    ) -> None:
        victim = inbox
        await victim.store.queues.create(victim.ref, {"keep": "me"}, now=victim.now)
        await victim.add("claimed", "ready", key="k", poster=b"me")
        await victim.claim(1, limit=1, ttl=HOUR)
        await victim.post("delayed", delay=HOUR)
        before = await self._everything(victim)
        for project in ("other", "ACME", "acme.inbox", "%", "_cme", ""):
            attacker = victim.beside(project=project)
            await attacker.store.queues.create(attacker.ref, {}, now=attacker.now)
            await attacker.add("claimed", "ready", key="k", fingerprint=b"mine", poster=b"me")
            await attacker.claim(1)
            await attacker.release(1, uncount=True)
            await attacker.claim(2, dead_letters=attacker.beside("dead").rule(0))
            await attacker.beside("dead").pop()
            await attacker.put_back(await attacker.pop())
            read = await attacker.store.queues.get(attacker.ref)
            assert read is not None
            await attacker.store.queues.replace_metadata(read, {"x": 1}, now=attacker.now)
            await attacker.purge()
            await attacker.drop()
            await sweep_all(attacker.store, attacker.clock)
        assert await self._everything(victim) == before
        assert await victim.store.queues.count("acme") == 1

    async def _everything(self, box: Inbox) -> tuple[object, ...]:
        queue: Queue | None = await box.store.queues.get(box.ref)
        page = await box.store.queues.page(box.ref.project, after=None, limit=100)
        return queue, page, await box.all(), await box.stats(), await box.held(1)

    async def test_listing_queues_crosses_no_project(
        self, store: Store, clock: ManualClock
    ) -> None:
        for project in ("a", "a.", "a0", "b", "A"):
            for name in ("one", "two"):
                await store.queues.create(QueueRef(project, name), {"n": 1}, now=clock.now())
        for after in (None, "", "a", "one"):
            page = await store.queues.page(
                "a", after=after, limit=100, name_contains="", metadata_equals={"n": 1}
            )
            assert {queue.ref.project for queue in page} == {"a"}
