"""What a durable store still knows after it was closed and opened again (I1, I23)."""

from collections.abc import Awaitable, Callable

import pytest

from nuska.domain.errors import Conflict
from nuska.domain.messages import DeleteOutcome
from nuska.domain.moments import Duration, Moment
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

Reopen = Callable[[], Awaitable[Store]]
"""Close the store and open it again on the same data, at the clock's moment."""


class DurabilityConformance(Conformance):
    """A driver's tests provide ``reopen`` beside ``store``."""

    async def test_messages_claims_and_queues_are_as_before(
        self, inbox: Inbox, reopen: Reopen
    ) -> None:
        await inbox.store.queues.create(
            inbox.ref, {"größe": [1, None]}, relaxed=True, now=inbox.now
        )
        await inbox.add("claimed", "ready", poster=b"me", attributes=b'{"k": 1}')
        await inbox.claim(1, limit=1)
        await inbox.post("delayed", delay=MINUTE)
        await inbox.claiming(2, limit=1, dead_letters=inbox.beside("dead").rule(0))
        before = await self._what_it_knows(inbox)
        inbox = inbox.after_reopening(await reopen())
        assert await self._what_it_knows(inbox) == before

    async def _what_it_knows(self, inbox: Inbox) -> list[object]:
        dead = inbox.beside("dead")
        return [
            await inbox.store.queues.page("acme", after=None, limit=10),
            await inbox.all(),
            await inbox.held(1),
            await inbox.stats(),
            await inbox.next_due(),
            await dead.all(),
            await dead.stats(),
        ]

    async def test_deleted_and_popped_messages_stay_gone(
        self, inbox: Inbox, reopen: Reopen
    ) -> None:
        ids = await inbox.post("deleted", "popped", "bulk", "stays")
        await inbox.delete(ids[0])
        await inbox.pop(1)
        await inbox.delete_many(ids[2])
        inbox = inbox.after_reopening(await reopen())
        assert bodies(await inbox.all()) == ["stays"]
        assert await inbox.get(*ids[:3]) == []

    async def test_a_claim_goes_on_and_ends_on_time(self, inbox: Inbox, reopen: Reopen) -> None:
        [message_id] = await inbox.post("held")
        await inbox.claim(1, ttl=MINUTE)
        inbox.clock.advance(seconds=30)
        inbox = inbox.after_reopening(await reopen())
        assert await inbox.claim(2) == []
        assert await inbox.renew(1, ttl=MINUTE)
        inbox.clock.advance(milliseconds=59_999)
        inbox = inbox.after_reopening(await reopen())
        assert await inbox.delete(message_id, claim=2) is DeleteOutcome.CLAIM_GONE
        assert await inbox.held(1) is not None
        inbox.clock.advance(milliseconds=1)
        assert bodies(await inbox.claim(3)) == ["held"]

    async def test_what_ended_while_closed_is_over(self, inbox: Inbox, reopen: Reopen) -> None:
        await inbox.post("expired", ttl=MINUTE)
        await inbox.post("held")
        await inbox.claim(1, ttl=MINUTE, grace=Duration(0))
        await inbox.post("delayed", delay=MINUTE)
        inbox.clock.advance(seconds=60)
        inbox = inbox.after_reopening(await reopen())
        assert await inbox.listed() == ["held", "delayed"]
        _, due = await sweep_all(inbox.store, inbox.clock)
        assert due == {inbox.ref}
        assert bodies(await inbox.claim(2)) == ["held", "delayed"]

    async def test_positions_go_on_above_the_old_ones(self, inbox: Inbox, reopen: Reopen) -> None:
        await inbox.post(*(str(n) for n in range(5000)))
        marker = (await inbox.page(limit=5000)).marker
        inbox = inbox.after_reopening(await reopen())
        await inbox.post("new")
        assert await inbox.listed(after=marker) == ["new"]
        await inbox.drop()
        inbox = inbox.after_reopening(await reopen())
        await inbox.post("newer")
        assert await inbox.listed(after=marker) == ["newer"]

    async def test_keys_are_remembered_for_their_time(self, inbox: Inbox, reopen: Reopen) -> None:
        first = await inbox.add("a", "b", key="k", fingerprint=b"one")
        inbox = inbox.after_reopening(await reopen())
        again = await inbox.add("a", "b", key="k", fingerprint=b"one")
        assert (again.ids, again.replayed) == (first.ids, True)
        with pytest.raises(Conflict):
            await inbox.add("c", key="k", fingerprint=b"two")
        inbox.clock.advance(seconds=600)
        inbox = inbox.after_reopening(await reopen())
        assert not (await inbox.add("c", key="k", fingerprint=b"two")).replayed

    @pytest.mark.parametrize("how", ["purge", "drop"])
    async def test_what_was_purged_or_deleted_stays_gone_and_is_swept(
        self, inbox: Inbox, reopen: Reopen, how: str
    ) -> None:
        await inbox.post(*(str(n) for n in range(500)))
        popped = await inbox.pop(1)
        await (inbox.purge() if how == "purge" else inbox.drop())
        inbox = inbox.after_reopening(await reopen())
        await inbox.post("new")
        await inbox.put_back(popped)
        removed, _ = await sweep_all(inbox.store, inbox.clock)
        assert removed >= 499
        assert bodies(await inbox.all()) == ["new"]

    async def test_the_guard_of_metadata_holds_across_an_opening(
        self, inbox: Inbox, reopen: Reopen
    ) -> None:
        await inbox.store.queues.create(inbox.ref, {}, now=inbox.now)
        read = await inbox.store.queues.get(inbox.ref)
        assert read is not None
        assert await inbox.store.queues.replace_metadata(read, {"n": 1}, now=inbox.now)
        inbox = inbox.after_reopening(await reopen())
        assert not await inbox.store.queues.replace_metadata(read, {"n": 2}, now=inbox.now)
        read = await inbox.store.queues.get(inbox.ref)
        assert read is not None
        assert await inbox.store.queues.replace_metadata(read, {"n": 3}, now=inbox.now)

    async def test_a_queue_created_anew_after_an_opening_is_another(
        self, inbox: Inbox, reopen: Reopen
    ) -> None:
        await inbox.store.queues.create(inbox.ref, {"old": 1}, now=inbox.now)
        read = await inbox.store.queues.get(inbox.ref)
        assert read is not None
        await inbox.drop()
        inbox = inbox.after_reopening(await reopen())
        await inbox.store.queues.create(inbox.ref, {"new": 1}, now=inbox.now)
        assert not await inbox.store.queues.replace_metadata(read, {}, now=inbox.now)

    async def test_time_does_not_run_backwards_across_an_opening(
        self, inbox: Inbox, reopen: Reopen
    ) -> None:
        await inbox.post("gone", ttl=MINUTE)
        inbox.clock.advance(seconds=60)
        await inbox.post("last", ttl=HOUR)
        seen = inbox.now
        store = await reopen()
        behind = ManualClock(Moment(seen - 30_000))
        past = Inbox(store, behind, inbox.ref.name)
        assert await past.listed() == ["last"]
        [new_id] = await past.post("new")
        assert (await past.one(new_id)).created_at == seen
