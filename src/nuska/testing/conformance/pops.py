"""Popping: taken and deleted in one step, and put back when the caller has gone."""

from nuska.domain.claims import Claimed
from nuska.testing.conformance.inbox import HOUR, MINUTE, Conformance, Inbox, bodies, sweep_all


class PopConformance(Conformance):
    async def test_a_pop_takes_the_oldest_and_deletes_them(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b", "c")
        assert bodies(await inbox.pop(2)) == ["a", "b"]
        assert bodies(await inbox.all()) == ["c"]
        assert await inbox.get(*ids[:2]) == []
        assert await inbox.counts() == (1, 0, 0)
        assert bodies(await inbox.pop(2)) == ["c"]
        assert await inbox.pop(2) == []

    async def test_a_popped_message_is_what_was_posted(self, inbox: Inbox) -> None:
        [message_id] = (await inbox.add("a", poster=b"me", attributes=b'{"k": 1}')).ids
        before = await inbox.one(message_id)
        inbox.clock.advance(seconds=1)
        assert await inbox.pop() == [before]

    async def test_a_pop_passes_over_claimed_delayed_and_expired_messages(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("claimed")
        await inbox.claim(ttl=HOUR)
        await inbox.post("expired", ttl=MINUTE)
        await inbox.post("delayed", delay=HOUR)
        await inbox.post("free")
        inbox.clock.advance(seconds=60)
        assert bodies(await inbox.pop()) == ["free"]

    async def test_a_pop_counts_nothing_and_dead_letters_nothing(self, inbox: Inbox) -> None:
        await inbox.post("a")
        rule = inbox.beside("dead").rule(1)
        await inbox.claim(1, dead_letters=rule)
        await inbox.release(1)
        [popped] = await inbox.pop()
        assert (popped.claim_count, popped.claim_id) == (1, None)
        await inbox.put_back([popped])
        assert await inbox.claiming(2, dead_letters=rule) == Claimed([], 1)

    async def test_what_is_put_back_stands_where_it_stood(self, inbox: Inbox) -> None:
        await inbox.add("a", "b", "c", poster=b"me", attributes=b'{"k": 1}')
        before = await inbox.all()
        popped = await inbox.pop(2)
        inbox.clock.advance(seconds=1)
        await inbox.post("d")
        await inbox.put_back(popped)
        [*old, new] = await inbox.all()
        assert [(m.id, m.position, m.expires_at) for m in old] == [
            (m.id, m.position, m.expires_at) for m in before
        ]
        assert [(m.poster, m.attributes) for m in old] == [(b"me", b'{"k": 1}')] * 3
        assert bodies([new]) == ["d"]
        assert await inbox.counts() == (4, 0, 0)
        assert bodies(await inbox.claim(limit=1)) == ["a"]

    async def test_what_is_put_back_is_found_by_its_id(self, inbox: Inbox) -> None:
        [message_id] = await inbox.post("a")
        popped = await inbox.pop()
        assert await inbox.get(message_id) == []
        await inbox.put_back(popped)
        assert bodies(await inbox.get(message_id)) == ["a"]
        assert bodies(await inbox.pop()) == ["a"]

    async def test_putting_back_twice_is_putting_back_once(self, inbox: Inbox) -> None:
        await inbox.post("a", "b")
        popped = await inbox.pop()
        await inbox.put_back(popped)
        await inbox.claim(1, limit=1)
        await inbox.put_back(popped)
        assert await inbox.counts() == (1, 0, 1)

    async def test_what_has_expired_meanwhile_does_not_come_back(self, inbox: Inbox) -> None:
        await inbox.post("short", ttl=MINUTE)
        await inbox.post("long", ttl=HOUR)
        popped = await inbox.pop()
        inbox.clock.advance(seconds=60)
        await inbox.put_back(popped)
        assert bodies(await inbox.all()) == ["long"]

    async def test_nothing_comes_back_into_a_purged_queue(self, inbox: Inbox) -> None:
        await inbox.post("old", "older")
        popped = await inbox.pop(1)
        await inbox.purge()
        await inbox.put_back(popped)
        assert await inbox.all() == []
        await inbox.post("new")
        await inbox.put_back(popped)
        await sweep_all(inbox.store, inbox.clock)
        assert bodies(await inbox.all()) == ["new"]

    async def test_nothing_comes_back_into_a_deleted_queue_or_one_created_anew(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("old")
        popped = await inbox.pop()
        await inbox.drop()
        await inbox.put_back(popped)
        assert not await inbox.exists()
        await inbox.post("new")
        await inbox.put_back(popped)
        assert bodies(await inbox.all()) == ["new"]
        inbox.clock.advance(seconds=1)
        await inbox.drop()
        await sweep_all(inbox.store, inbox.clock)
        await inbox.store.queues.create(inbox.ref, {}, now=inbox.now)
        await inbox.put_back(popped)
        assert await inbox.all() == []

    async def test_what_was_posted_after_a_purge_can_be_put_back(self, inbox: Inbox) -> None:
        await inbox.post("old")
        await inbox.purge()
        await inbox.post("new")
        await inbox.put_back(await inbox.pop())
        assert await inbox.listed() == ["new"]

    async def test_a_dead_letter_is_put_back_with_its_history(self, inbox: Inbox) -> None:
        dead = inbox.beside("dead")
        [message_id] = await inbox.post("poison")
        await inbox.claim(1, dead_letters=dead.rule(0))
        await dead.post("behind")
        before = await dead.one(message_id)
        await dead.put_back(await dead.pop())
        after = await dead.one(message_id)
        assert (after.dead, after.position) == (before.dead, before.position)
        assert await dead.listed() == ["poison", "behind"]
