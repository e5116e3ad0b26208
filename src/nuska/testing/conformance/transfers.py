"""Queues carried from store to store: what a fence stops, and that all arrives as it was.

The other end is the model store, so a driver is checked against what must come out of it and
go into it, whichever engine the other end runs on.
"""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from nuska.domain.errors import Conflict, QueueAway, QueueMissing
from nuska.domain.messages import DeleteOutcome, Idempotency, Message, NewMessage, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position, claim_id
from nuska.domain.queues import Queue
from nuska.interfaces.pooling import PoolableStore, TransferStore
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.inbox import (
    HOUR,
    MINUTE,
    UNKNOWN_CLAIM,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
)

EPOCH = 5
CLAIM = claim_id((1).to_bytes(12))
NEW = NewMessage(body=b'"new"', ttl=HOUR)
REF = QueueRef("acme", "inbox")
DUMPED_AT_ONCE = 3
"""Few, so that every carried queue takes several pages."""

Use = Callable[[PoolableStore, Moment, str], Awaitable[object]]

USES: dict[str, Use] = {
    "create": lambda s, now, _: s.queues.create(REF, {}, now=now),
    "get": lambda s, _, __: s.queues.get(REF),
    "replace_metadata": lambda s, now, _: s.queues.replace_metadata(
        Queue(ref=REF, metadata={}, version=1), {"a": 1}, now=now
    ),
    "delete queue": lambda s, now, _: s.queues.delete(REF, now=now),
    "purge": lambda s, now, _: s.queues.purge(REF, now=now),
    "stats": lambda s, now, _: s.queues.stats(REF, now=now),
    "add": lambda s, now, _: s.messages.add(REF, [NEW], now=now),
    "add once": lambda s, now, _: s.messages.add(
        REF, [NEW], idempotency=Idempotency("k", b"f"), now=now
    ),
    "page": lambda s, now, _: s.messages.page(REF, after=BEFORE_ALL, limit=9, now=now),
    "position_of": lambda s, _, known: s.messages.position_of(REF, known),
    "get messages": lambda s, now, known: s.messages.get(REF, [known], now=now),
    "delete": lambda s, now, known: s.messages.delete(REF, known, now=now),
    "delete_many": lambda s, now, known: s.messages.delete_many(REF, [known], now=now),
    "pop": lambda s, now, _: s.messages.pop(REF, limit=9, now=now),
    "put_back": lambda s, now, _: s.messages.put_back(REF, [], now=now),
    "next_due": lambda s, now, _: s.messages.next_due(REF, now=now),
    "claim": lambda s, now, _: s.claims.create(
        REF, claim_id=UNKNOWN_CLAIM, limit=9, ttl=MINUTE, grace=MINUTE, now=now
    ),
    "get claim": lambda s, now, _: s.claims.get(REF, CLAIM, now=now),
    "renew": lambda s, now, _: s.claims.renew(REF, CLAIM, ttl=MINUTE, grace=MINUTE, now=now),
    "release": lambda s, now, _: s.claims.release(REF, CLAIM, now=now),
    "arrive": lambda s, now, _: s.transfers.arrive(REF, [], source="s", now=now),
}


async def carry(source: Inbox, store: PoolableStore, epoch: int = EPOCH) -> Inbox:
    """The queue as it is after it was carried to ``store``."""
    here, there = transfers_of(source), store.transfers
    now, ref = source.now, source.ref
    await here.fence(ref, epoch=epoch, now=now)
    outline = await here.outline(ref)
    assert outline is not None
    await there.begin(ref, outline, epoch=epoch, now=now)
    after = ""
    while leases := await here.dump_claims(ref, after=after, limit=DUMPED_AT_ONCE):
        await there.load(ref, claims=leases, epoch=epoch, now=now)
        after = leases[-1].claim_id
    after = ""
    while posts := await here.dump_posts(ref, after=after, limit=DUMPED_AT_ONCE):
        await there.load(ref, posts=posts, epoch=epoch, now=now)
        after = posts[-1].key
    position = BEFORE_ALL
    while page := await here.dump(ref, after=position, limit=DUMPED_AT_ONCE, now=now):
        await there.load(ref, messages=page, epoch=epoch, now=now)
        position = page[-1].position
    await there.open(ref, epoch=epoch, now=now)
    return source.after_reopening(store)


def transfers_of(inbox: Inbox) -> TransferStore:
    store = inbox.store
    assert isinstance(store, PoolableStore)
    return store.transfers


class TransferConformance(Conformance):
    @pytest.fixture
    async def elsewhere(self, clock: ManualClock) -> AsyncIterator[PoolableStore]:
        store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes(7))
        yield store
        await store.close()

    @pytest.fixture(params=["out", "in"])
    def ends(
        self, request: pytest.FixtureRequest, store: PoolableStore, elsewhere: PoolableStore
    ) -> tuple[PoolableStore, PoolableStore]:
        """Where a queue is carried from, and where to."""
        return (store, elsewhere) if request.param == "out" else (elsewhere, store)

    @pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
    async def test_a_fenced_queue_answers_nobody(
        self, store: PoolableStore, inbox: Inbox, use: Use
    ) -> None:
        ids = await inbox.post("one", "two")
        await inbox.claim(1, limit=1)
        before = await inbox.all(), await inbox.held(1)
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        with pytest.raises(QueueAway):
            await use(store, inbox.now, ids[1])
        await store.transfers.open(inbox.ref, epoch=EPOCH, now=inbox.now)
        assert (await inbox.all(), await inbox.held(1)) == before

    async def test_a_fence_stands_where_no_queue_was(
        self, store: PoolableStore, inbox: Inbox
    ) -> None:
        await inbox.beside("other").post("x")
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        with pytest.raises(QueueAway):
            await inbox.post("too early")
        listed = await store.queues.page("acme", after=None, limit=9)
        assert [queue.ref.name for queue in listed] == ["other"]
        assert await store.queues.count("acme") == 1

    @pytest.fixture
    def buries_in_one_step(self) -> bool:
        """Whether a claim that dead-letters changes both queues at once. A store in which the
        letters travel says no: the claim cannot know of the fence where they go."""
        return True

    async def test_what_a_claim_buries_in_a_fenced_queue_is_nowhere_else(
        self, store: PoolableStore, inbox: Inbox, buries_in_one_step: bool
    ) -> None:
        graves = inbox.beside("graves")
        await inbox.post("one", "two")
        await store.transfers.fence(graves.ref, epoch=EPOCH, now=inbox.now)
        if buries_in_one_step:
            with pytest.raises(QueueAway):
                await inbox.claim(1, dead_letters=graves.rule(0))
            assert await inbox.listed() == ["one", "two"]
            return
        assert (await inbox.claiming(1, dead_letters=graves.rule(0))).dead_lettered == 2
        inbox.clock.advance(seconds=2)
        await sweep_all(store, inbox.clock)
        assert await inbox.all() == []
        assert await self._dumped(store, graves) == []
        await store.transfers.open(graves.ref, epoch=EPOCH, now=inbox.now)
        inbox.clock.advance(seconds=2)
        await sweep_all(store, inbox.clock)
        assert await graves.listed() == ["one", "two"]
        assert await inbox.all() == []

    async def _dumped(self, store: PoolableStore, inbox: Inbox) -> list[Message]:
        return await store.transfers.dump(inbox.ref, after=BEFORE_ALL, limit=9, now=inbox.now)

    async def test_a_carried_queue_is_as_it_was(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = await self._full(Inbox(ends[0], clock))
        before = await self._contents(inbox)
        carried = await carry(inbox, ends[1])
        assert await self._contents(carried) == before
        for message in await carried.all():
            assert await carried.one(message.id) == message

    async def _full(self, inbox: Inbox) -> Inbox:
        """A queue with something of every kind, none of it in a simple place."""
        await inbox.store.queues.create(inbox.ref, {"k": [1, None]}, relaxed=True, now=inbox.now)
        await inbox.post("purged")
        await inbox.purge()
        other = inbox.beside("other")
        await other.post("dead 1", "dead 2")
        await inbox.add("a", "b", "c", "d", poster=b"me", attributes=b'{"k": 1}', key="once")
        await other.claim(9, dead_letters=inbox.rule(0))
        inbox.clock.advance(milliseconds=1500)
        await inbox.post("expires", ttl=MINUTE)
        await inbox.claim(1, limit=2, ttl=HOUR, grace=HOUR)
        await inbox.claim(2, limit=1)
        await inbox.post("delayed", "delayed too", delay=MINUTE)
        await inbox.post("last")
        return inbox

    async def _contents(self, inbox: Inbox) -> list[object]:
        queue = await inbox.store.queues.get(inbox.ref)
        assert queue is not None
        return [
            queue.metadata,
            queue.relaxed,
            await inbox.all(),
            await inbox.listed(),
            await inbox.held(1),
            await inbox.held(2),
            await inbox.stats(),
            await inbox.next_due(),
        ]

    async def test_a_carried_queue_goes_on_behind_its_last_message(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        await inbox.post(*"abcdefgh")
        await inbox.delete((await inbox.all())[-1].id)
        carried = await carry(inbox, ends[1])
        last = (await carried.all())[-1]
        await carried.post("new")
        assert await carried.listed() == [*"abcdefg", "new"]
        assert await carried.listed(after=last.position) == ["new"]

    async def test_claims_go_on_where_a_queue_was_carried(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        ids = await inbox.post("a", "b", "c", "d")
        await inbox.claim(1, limit=2)
        await inbox.claim(2, limit=1)
        carried = await carry(inbox, ends[1])
        assert await carried.delete(ids[0]) is DeleteOutcome.CLAIMED
        assert await carried.delete(ids[0], claim=1) is DeleteOutcome.DELETED
        assert await carried.renew(1, ttl=HOUR, grace=MINUTE)
        assert await carried.release(2) == 1
        assert bodies(await carried.claim(3)) == ["c", "d"]
        clock.advance(milliseconds=MINUTE)
        await sweep_all(ends[1], clock)
        assert bodies(await carried.claim(4)) == ["c", "d"]
        held = await carried.held(1)
        assert held is not None
        assert [message.id for message in held.messages] == [ids[1]]

    async def test_what_waits_becomes_due_where_it_was_carried(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        await inbox.post("claimed")
        await inbox.claim(1)
        await inbox.post("delayed", delay=MINUTE)
        carried = await carry(inbox, ends[1])
        await sweep_all(ends[1], clock)
        assert await carried.listed() == []
        clock.advance(milliseconds=MINUTE)
        _, due = await sweep_all(ends[1], clock)
        assert carried.ref in due
        assert await carried.listed() == ["claimed", "delayed"]

    async def test_expired_messages_are_swept_where_they_were_carried(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        await inbox.post("a", "b", "c", ttl=MINUTE)
        await carry(inbox, ends[1])
        clock.advance(milliseconds=MINUTE)
        removed, _ = await sweep_all(ends[1], clock)
        assert removed >= 3

    async def test_a_post_is_remembered_where_its_queue_was_carried(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        first = await inbox.add("a", "b", "c", key="k")
        for number in range(DUMPED_AT_ONCE * 2):
            await inbox.add("x", key=f"k{number}")
        carried = await carry(inbox, ends[1])
        again = await carried.add("a", "b", "c", key="k")
        assert (again.ids, again.replayed) == (first.ids, True)
        with pytest.raises(Conflict):
            await carried.add("other", key="k", fingerprint=b"other")

    async def test_a_pop_can_be_undone_where_its_queue_was_carried(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        await inbox.post("purged")
        purged = await inbox.pop()
        await inbox.purge()
        await inbox.post("a", "b")
        popped = await inbox.pop(1)
        carried = await carry(inbox, ends[1])
        await carried.put_back(popped)
        await carried.put_back(purged)
        assert await carried.listed() == ["a", "b"]

    async def test_a_queue_can_be_carried_back(
        self, store: PoolableStore, elsewhere: PoolableStore, inbox: Inbox
    ) -> None:
        await inbox.post("a", "b", "c")
        away = await carry(inbox, elsewhere)
        await away.pop(1)
        await away.post("d")
        back = await carry(away, store, EPOCH + 1)
        await back.post("e")
        assert await back.listed() == ["b", "c", "d", "e"]
        listed = await back.all()
        assert sorted({m.position for m in listed}) == [m.position for m in listed]
        await sweep_all(store, inbox.clock)
        assert await back.listed() == ["b", "c", "d", "e"]

    async def test_a_load_that_is_begun_again_leaves_nothing_of_the_first(
        self, store: PoolableStore, inbox: Inbox
    ) -> None:
        await inbox.post("a", "b")
        outline = await store.transfers.outline(inbox.ref)
        assert outline is not None
        message = (await inbox.all())[0]
        there = inbox.beside("there")
        await there.post("of before")
        for _ in range(2):
            await store.transfers.begin(there.ref, outline, epoch=EPOCH, now=inbox.now)
        await store.transfers.load(there.ref, messages=[message], epoch=EPOCH, now=inbox.now)
        await store.transfers.open(there.ref, epoch=EPOCH, now=inbox.now)
        await sweep_all(store, inbox.clock)
        assert await there.listed() == ["a"]

    async def test_a_load_takes_the_place_of_what_changed_and_an_unload_of_what_went(
        self, store: PoolableStore, elsewhere: PoolableStore, inbox: Inbox
    ) -> None:
        there = store.transfers
        other = Inbox(elsewhere, inbox.clock)
        ids = await other.post("a", "b", "c")
        outline = await elsewhere.transfers.outline(other.ref)
        assert outline is not None
        await there.begin(inbox.ref, outline, epoch=EPOCH, now=inbox.now)
        await there.load(inbox.ref, messages=await other.all(), epoch=EPOCH, now=inbox.now)
        await other.claim(1, limit=2, ttl=HOUR)
        await other.delete(ids[0], claim=1)
        claims = await elsewhere.transfers.dump_claims(other.ref, after="", limit=9)
        await there.load(
            inbox.ref, claims=claims, messages=await other.all(), epoch=EPOCH, now=inbox.now
        )
        await there.unload(inbox.ref, [ids[0], "unknown"], epoch=EPOCH, now=inbox.now)
        await there.open(inbox.ref, epoch=EPOCH, now=inbox.now)
        assert await inbox.all() == await other.all()
        assert await inbox.held(1) == await other.held(1)
        assert await inbox.counts() == (1, 0, 1)

    async def test_an_outline_is_amended_beside_what_was_loaded(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        source, target = ends[0].transfers, ends[1].transfers
        inbox, there = Inbox(ends[0], clock), Inbox(ends[1], clock)
        await inbox.post("purged")
        before = await source.outline(inbox.ref)
        assert before is not None
        await target.begin(inbox.ref, before, epoch=EPOCH, now=clock.now())
        popped = await inbox.pop()
        await inbox.purge()
        await inbox.post("stays")
        queue = await ends[0].queues.get(inbox.ref)
        assert queue is not None
        await ends[0].queues.replace_metadata(queue, {"k": 1}, relaxed=True, now=clock.now())
        letters = inbox.beside("letters")
        await letters.post("letter")
        await source.arrive(inbox.ref, await letters.all(), source="s", now=clock.now())
        messages = await inbox.all()
        await target.load(inbox.ref, messages=messages[:1], epoch=EPOCH, now=clock.now())
        await inbox.delete(messages[1].id)
        after = await source.outline(inbox.ref)
        assert after is not None
        await target.amend(inbox.ref, after, epoch=EPOCH, now=clock.now())
        found = await target.outline(inbox.ref)
        assert found is not None
        assert (found.metadata, found.relaxed) == ({"k": 1}, True)
        assert (found.base, found.arrived) == (after.base, after.arrived)
        assert found.last >= after.last
        await target.open(inbox.ref, epoch=EPOCH, now=clock.now())
        await there.put_back(popped)
        await there.post("later")
        assert await there.listed() == ["stays", "later"]
        with pytest.raises(Conflict):
            await target.amend(inbox.ref, after, epoch=EPOCH, now=clock.now())

    async def test_only_a_fenced_queue_can_be_loaded_or_forgotten(
        self, store: PoolableStore, inbox: Inbox
    ) -> None:
        await inbox.post("a")
        messages = await inbox.all()
        with pytest.raises(Conflict):
            await store.transfers.load(inbox.ref, messages=messages, epoch=EPOCH, now=inbox.now)
        with pytest.raises(Conflict):
            await store.transfers.unload(inbox.ref, [messages[0].id], epoch=EPOCH, now=inbox.now)
        await store.transfers.forget(inbox.ref, epoch=EPOCH, now=inbox.now)
        assert await inbox.listed() == ["a"]
        assert await store.transfers.outline(QueueRef("acme", "nobody's")) is None

    async def test_who_comes_late_changes_nothing(self, store: PoolableStore, inbox: Inbox) -> None:
        transfers, ref, now = store.transfers, inbox.ref, inbox.now
        await inbox.post("a")
        messages = await inbox.all()
        await transfers.fence(ref, epoch=EPOCH, now=now)
        outline = await transfers.outline(ref)
        assert outline is not None
        assert (outline.fenced, outline.epoch) == (True, EPOCH)
        for late in (EPOCH - 1, 0):
            with pytest.raises(Conflict):
                await transfers.fence(ref, epoch=late, now=now)
            with pytest.raises(Conflict):
                await transfers.begin(ref, outline, epoch=late, now=now)
            with pytest.raises(Conflict):
                await transfers.load(ref, messages=messages, epoch=late, now=now)
            with pytest.raises(Conflict):
                await transfers.unload(ref, [messages[0].id], epoch=late, now=now)
            await transfers.open(ref, epoch=late, now=now)
            await transfers.forget(ref, epoch=late, now=now)
            assert await transfers.outline(ref) == outline
        await transfers.open(ref, epoch=EPOCH, now=now)
        with pytest.raises(Conflict):
            await transfers.begin(ref, outline, epoch=EPOCH, now=now)
        with pytest.raises(Conflict):
            await transfers.fence(ref, epoch=EPOCH, now=now)
        assert await inbox.listed() == ["a"]
        await transfers.fence(ref, epoch=EPOCH + 1, now=now)
        await transfers.begin(ref, outline, epoch=EPOCH + 1, now=now)
        await transfers.open(ref, epoch=EPOCH + 1, now=now)
        assert await inbox.listed() == []

    async def test_a_forgotten_queue_leaves_its_name_free_and_no_position_twice(
        self, store: PoolableStore, inbox: Inbox
    ) -> None:
        await inbox.post("a", "b")
        last = (await inbox.all())[-1].position
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        await store.transfers.forget(inbox.ref, epoch=EPOCH, now=inbox.now)
        assert not await inbox.exists()
        await inbox.post("new")
        assert await inbox.listed(after=last) == ["new"]
        await sweep_all(store, inbox.clock)
        assert await inbox.listed() == ["new"]

    async def test_letters_arrive_once_in_order_with_all_they_have(
        self, store: PoolableStore, elsewhere: PoolableStore, inbox: Inbox
    ) -> None:
        other = Inbox(elsewhere, inbox.clock, "outbox")
        await inbox.post("first")
        source = other.beside("source")
        await source.add("a", "b", "c", poster=b"me", attributes=b"{}")
        await source.claim(1, dead_letters=other.rule(0))
        letters = await other.all()
        await self._arrive(store, inbox, letters[:2])
        inbox.clock.advance(milliseconds=10)
        await self._arrive(store, inbox, letters)
        await self._arrive(store, inbox, letters[:1])
        assert await inbox.listed() == ["first", "a", "b", "c"]
        for letter in letters:
            here = await inbox.one(letter.id)
            assert (here.body, here.dead, here.poster, here.attributes, here.claim_count) == (
                letter.body,
                letter.dead,
                letter.poster,
                letter.attributes,
                letter.claim_count,
            )
            assert (here.created_at, here.expires_at) == (letter.created_at, letter.expires_at)
        await inbox.delete(letters[0].id)
        await self._arrive(store, inbox, letters)
        assert await inbox.listed() == ["first", "b", "c"]
        await self._arrive(store, inbox, letters[:1], source="another")
        assert await inbox.listed() == ["first", "b", "c", "a"]

    async def _arrive(
        self,
        store: PoolableStore,
        inbox: Inbox,
        letters: list[Message],
        source: str = "pool one",
    ) -> None:
        await store.transfers.arrive(inbox.ref, letters, source=source, now=inbox.now)

    async def test_letters_do_not_arrive_again_where_their_queue_was_carried(
        self, ends: tuple[PoolableStore, PoolableStore], clock: ManualClock
    ) -> None:
        inbox = Inbox(ends[0], clock)
        await inbox.post("first")
        source = inbox.beside("source")
        await source.post("a")
        letters = await source.all()
        await self._arrive(ends[0], inbox, letters)
        carried = await carry(inbox, ends[1])
        await self._arrive(ends[1], carried, letters)
        assert await carried.listed() == ["first", "a"]

    async def test_letters_and_posts_that_must_not_create_a_queue_do_not(
        self, store: PoolableStore, inbox: Inbox
    ) -> None:
        other = inbox.beside("other")
        await other.post("a")
        with pytest.raises(QueueMissing):
            await self._arrive(store, inbox, await other.all())
        for idempotency in (None, Idempotency("k", b"f")):
            with pytest.raises(QueueMissing):
                await store.messages.add(
                    inbox.ref, [NEW], idempotency=idempotency, create=False, now=inbox.now
                )
        assert not await inbox.exists()
        await store.queues.create(inbox.ref, {}, now=inbox.now)
        await store.messages.add(inbox.ref, [NEW], create=False, now=inbox.now)
        assert await inbox.listed() == ["new"]

    async def test_what_a_stranger_stores_keeps_its_place(
        self, store: PoolableStore, elsewhere: PoolableStore, inbox: Inbox
    ) -> None:
        """A marker that a reader holds means the same before and after."""
        other = Inbox(elsewhere, inbox.clock)
        await other.post(*"abcdef")
        marker = (await other.page(limit=3)).marker
        carried = await carry(other, store)
        assert await carried.listed(after=marker) == ["d", "e", "f"]
        assert await carried.listed(after=Position(marker - 1), limit=2) == ["c", "d"]
