"""Posts with a key: the same post is stored once, for ten minutes, per queue."""

import asyncio

import pytest

from nuska.domain.errors import Conflict
from nuska.domain.limits import IDEMPOTENCY_TTL
from nuska.domain.messages import Added
from nuska.testing.conformance.inbox import HOUR, MINUTE, Conformance, Inbox, sweep_all


class IdempotencyConformance(Conformance):
    async def test_the_same_post_again_stores_nothing_and_answers_the_same_ids(
        self, inbox: Inbox
    ) -> None:
        first = await inbox.add("a", "b", "c", key="k")
        again = await inbox.add("a", "b", "c", key="k")
        assert (first.replayed, again.replayed) == (False, True)
        assert again.ids == first.ids
        assert await inbox.listed() == ["a", "b", "c"]

    async def test_a_key_with_another_content_is_a_conflict_and_stores_nothing(
        self, inbox: Inbox
    ) -> None:
        first = await inbox.add("a", key="k", fingerprint=b"one")
        with pytest.raises(Conflict):
            await inbox.add("b", key="k", fingerprint=b"two")
        assert await inbox.listed() == ["a"]
        assert (await inbox.add("a", key="k", fingerprint=b"one")).ids == first.ids

    async def test_a_key_is_remembered_for_exactly_its_time(self, inbox: Inbox) -> None:
        first = await inbox.add("a", key="k")
        inbox.clock.advance(milliseconds=IDEMPOTENCY_TTL - 1)
        assert (await inbox.add("a", key="k")).ids == first.ids
        inbox.clock.advance(milliseconds=1)
        fresh = await inbox.add("a", key="k", fingerprint=b"other")
        assert not fresh.replayed
        assert await inbox.listed() == ["a", "a"]
        assert (await inbox.add("a", key="k", fingerprint=b"other")).ids == fresh.ids

    async def test_sweeping_forgets_no_key_before_its_time(self, inbox: Inbox) -> None:
        first = await inbox.add("a", key="k", ttl=MINUTE)
        inbox.clock.advance(milliseconds=IDEMPOTENCY_TTL - 1)
        await sweep_all(inbox.store, inbox.clock)
        again = await inbox.add("a", key="k")
        assert (again.ids, again.replayed) == (first.ids, True)
        assert await inbox.all() == []
        inbox.clock.advance(milliseconds=1)
        await sweep_all(inbox.store, inbox.clock)
        assert not (await inbox.add("a", key="k")).replayed

    async def test_what_became_of_the_messages_does_not_matter(self, inbox: Inbox) -> None:
        first = await inbox.add("deleted", "claimed", "popped", key="k")
        await inbox.delete(first.ids[0])
        await inbox.claim(limit=1)
        await inbox.pop()
        again = await inbox.add("deleted", "claimed", "popped", key="k")
        assert (again.ids, again.replayed) == (first.ids, True)
        assert await inbox.counts() == (0, 0, 1)

    async def test_other_keys_and_posts_without_one_are_other_posts(self, inbox: Inbox) -> None:
        for key in ("k", "K", "k ", "", "%", "_", "'", "é", None, None):
            assert not (await inbox.add("a", key=key)).replayed
        assert len(await inbox.all()) == 10

    async def test_a_key_belongs_to_one_queue_of_one_project(self, inbox: Inbox) -> None:
        first = await inbox.add("a", key="k")
        for other in (inbox.beside("other"), inbox.beside(project="other")):
            added = await other.add("b", key="k", fingerprint=b"another")
            assert not added.replayed
            assert await other.listed() == ["b"]
        assert (await inbox.add("a", key="k")).ids == first.ids

    async def test_a_queue_created_anew_has_seen_no_key(self, inbox: Inbox) -> None:
        first = await inbox.add("a", key="k")
        await inbox.drop()
        fresh = await inbox.add("b", key="k", fingerprint=b"another")
        assert not fresh.replayed
        assert fresh.ids != first.ids
        await sweep_all(inbox.store, inbox.clock)
        assert await inbox.listed() == ["b"]
        assert (await inbox.add("b", key="k", fingerprint=b"another")).replayed

    async def test_a_purged_queue_still_knows_its_keys(self, inbox: Inbox) -> None:
        first = await inbox.add("a", key="k")
        await inbox.purge()
        await sweep_all(inbox.store, inbox.clock)
        again = await inbox.add("a", key="k")
        assert (again.ids, again.replayed) == (first.ids, True)
        assert await inbox.all() == []

    async def test_no_messages_with_a_key_ask_for_the_first_post_and_store_nothing(
        self, inbox: Inbox
    ) -> None:
        assert await inbox.add(key="k", fingerprint=b"one") == Added([])
        assert not await inbox.exists()
        first = await inbox.add("a", key="k", fingerprint=b"one")
        assert not first.replayed
        assert await inbox.add(key="k", fingerprint=b"one") == Added(first.ids, replayed=True)
        with pytest.raises(Conflict):
            await inbox.add(key="k", fingerprint=b"two")
        assert await inbox.add(key="other") == Added([])
        assert not (await inbox.add("b", key="other")).replayed
        assert await inbox.listed() == ["a", "b"]

    async def test_the_same_post_many_times_at_once_is_stored_once(self, inbox: Inbox) -> None:
        posts = await asyncio.gather(*(inbox.add("a", "b", key="k", ttl=HOUR) for _ in range(20)))
        assert sum(not post.replayed for post in posts) == 1
        assert all(post.ids == posts[0].ids for post in posts)
        assert await inbox.listed() == ["a", "b"]

    async def test_of_different_posts_with_one_key_at_once_one_is_stored(
        self, inbox: Inbox
    ) -> None:
        posts = await asyncio.gather(
            *(inbox.add(str(n), key="k", fingerprint=str(n).encode()) for n in range(10)),
            return_exceptions=True,
        )
        stored = [n for n, post in enumerate(posts) if not isinstance(post, BaseException)]
        refused = [post for post in posts if isinstance(post, Conflict)]
        assert (len(stored), len(refused)) == (1, 9)
        assert await inbox.listed() == [str(stored[0])]
