"""Messages: what is stored is what was posted, where it stands, and how it is looked up."""

import msgspec
import pytest

from nuska.domain.messages import Message, NewMessage
from nuska.domain.moments import after, seconds
from nuska.domain.positions import BEFORE_ALL, Position, floor_at, parse_message_id
from nuska.testing.conformance.inbox import (
    HOUR,
    MALFORMED,
    MINUTE,
    Conformance,
    Inbox,
    bodies,
    sweep_all,
    text,
)

MORE_THAN_A_MILLISECOND_HOLDS = 5000
"""Posts in one millisecond that make the counter run ahead of the clock (2**12)."""


class MessageConformance(Conformance):
    async def test_a_message_is_kept_as_it_was_posted(self, inbox: Inbox) -> None:
        added = await inbox.add(
            "hello", ttl=HOUR, delay=MINUTE, poster=b"\x00\xffme", attributes=b'{"x": 1}'
        )
        [message] = await inbox.get(*added.ids)
        assert not added.replayed
        assert message == Message(
            id=added.ids[0],
            position=message.position,
            body=text("hello"),
            ttl=HOUR,
            created_at=inbox.now,
            expires_at=after(inbox.now, HOUR),
            available_at=after(inbox.now, MINUTE),
            poster=b"\x00\xffme",
            attributes=b'{"x": 1}',
        )

    async def test_what_is_given_out_is_plain_data(self, inbox: Inbox) -> None:
        """A driver's own kinds of numbers stay with the driver."""
        await inbox.post("a", "b")
        await inbox.post("later", delay=MINUTE)
        claimed = await inbox.claiming(1, limit=1)
        given = [claimed, await inbox.all(), await inbox.held(1), await inbox.stats()]
        due = [await inbox.next_due(), (await inbox.page()).marker]
        assert msgspec.json.encode([given, due])

    async def test_a_listed_message_is_the_same_as_one_looked_up(self, inbox: Inbox) -> None:
        await inbox.add("a", "b", poster=b"me", attributes=b"{}")
        listed = await inbox.all()
        assert await inbox.get(*(m.id for m in listed)) == listed

    @pytest.mark.parametrize(
        "body", [b"null", b"0", b'""', '"größe 𝄞 \\u0000"'.encode(), b"[ 1,\n  2 ]", b'{"":{}}']
    )
    async def test_a_body_is_kept_byte_for_byte(self, inbox: Inbox, body: bytes) -> None:
        news = [NewMessage(body=body, ttl=HOUR)]
        await inbox.store.messages.add(inbox.ref, news, now=inbox.now)
        [listed] = await inbox.all()
        [claimed] = await inbox.claim()
        await inbox.release()
        [popped] = await inbox.pop()
        assert [listed.body, claimed.body, popped.body] == [body] * 3

    async def test_ids_are_distinct_and_given_in_the_order_posted(self, inbox: Inbox) -> None:
        letters = [f"letter {n}" for n in range(200)]
        ids = await inbox.post(*letters)
        assert len(set(ids)) == 200
        assert bodies(await inbox.get(*ids)) == letters

    async def test_messages_are_listed_in_the_order_posted(self, inbox: Inbox) -> None:
        await inbox.post("a", "b")
        inbox.clock.advance(milliseconds=1)
        await inbox.post("c")
        await inbox.post("d", "e")
        assert await inbox.listed() == ["a", "b", "c", "d", "e"]

    async def test_an_id_tells_the_position_and_nothing_else_can_guess_it(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("a", "b", "c")
        parsed = [(m, parse_message_id(m.id)) for m in await inbox.all()]
        assert all(found is not None and found[0] == m.position for m, found in parsed)
        assert len({found[1] for _, found in parsed if found is not None}) == 3

    async def test_an_id_with_a_wrong_random_part_finds_nothing(self, inbox: Inbox) -> None:
        [right] = await inbox.post("secret")
        wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
        assert await inbox.get(wrong) == []
        await inbox.delete(wrong)
        await inbox.delete_many(wrong)
        assert await inbox.listed() == ["secret"]

    async def test_positions_keep_up_with_the_clock_and_below_2_to_the_53(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("a", ttl=seconds(100_000))
        inbox.clock.advance(seconds=86_400)
        await inbox.post("b")
        [a, b] = await inbox.all()
        assert a.position < floor_at(inbox.now) <= b.position < 2**53

    async def test_positions_go_on_above_those_of_a_deleted_queue_of_the_name(
        self, inbox: Inbox
    ) -> None:
        letters = [str(n) for n in range(MORE_THAN_A_MILLISECOND_HOLDS)]
        old = await inbox.post(*letters)
        marker = await self._position(inbox, old[-1])
        await inbox.drop()
        await inbox.post("new")
        assert await inbox.listed(after=marker) == ["new"]
        await inbox.drop()
        await sweep_all(inbox.store, inbox.clock)
        await inbox.post("newer")
        assert await inbox.listed(after=marker) == ["newer"]

    async def test_positions_go_on_above_those_before_a_purge(self, inbox: Inbox) -> None:
        [old] = await inbox.post("old")
        marker = await self._position(inbox, old)
        await inbox.purge()
        await inbox.post("new")
        assert await inbox.listed(after=marker) == ["new"]

    async def test_a_marker_stays_good_when_its_message_is_gone(self, inbox: Inbox) -> None:
        ids = await inbox.post("a", "b", "c", "d")
        marker = await self._position(inbox, ids[1])
        await inbox.delete(ids[1])
        assert await self._position(inbox, ids[1]) == marker
        assert await inbox.listed(after=marker) == ["c", "d"]
        await inbox.drop()
        assert await self._position(inbox, ids[1]) == marker

    @pytest.mark.parametrize("malformed", MALFORMED)
    async def test_what_cannot_be_an_id_marks_no_position(
        self, inbox: Inbox, malformed: str
    ) -> None:
        await inbox.post("a")
        assert await inbox.store.messages.position_of(inbox.ref, malformed) is None

    async def test_messages_are_looked_up_in_the_order_asked(self, inbox: Inbox) -> None:
        [a, b, c] = await inbox.post("a", "b", "c")
        assert bodies(await inbox.get(c, a, b)) == ["c", "a", "b"]

    async def test_a_message_asked_for_twice_is_answered_once(self, inbox: Inbox) -> None:
        [a, b] = await inbox.post("a", "b")
        assert bodies(await inbox.get(b, a, b)) == ["b", "a"]

    async def test_ids_that_do_not_exist_are_left_out(self, inbox: Inbox) -> None:
        [a, b] = await inbox.post("a", "b")
        await inbox.delete(a)
        assert bodies(await inbox.get(*MALFORMED, a, "0" * 32, b, b.upper(), "f" * 32)) == ["b"]

    async def test_claimed_and_delayed_messages_are_found_by_id(self, inbox: Inbox) -> None:
        [a] = await inbox.post("claimed")
        await inbox.claim()
        [b] = await inbox.post("delayed", delay=MINUTE)
        assert bodies(await inbox.get(a, b)) == ["claimed", "delayed"]

    async def test_listing_takes_nothing_and_counts_nothing(self, inbox: Inbox) -> None:
        await inbox.post("a")
        before = await inbox.all()
        assert await inbox.listed() == ["a"]
        assert await inbox.all() == before
        assert (await inbox.all())[0].claim_count == 0

    async def test_claimed_and_delayed_messages_are_listed_when_asked_for(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("claimed")
        await inbox.claim()
        await inbox.post("ready 1")
        await inbox.post("delayed", delay=MINUTE)
        await inbox.post("ready 2")
        claimed = await inbox.page(include_claimed=True)
        delayed = await inbox.page(include_delayed=True)
        assert await inbox.listed() == ["ready 1", "ready 2"]
        assert bodies(claimed.messages) == ["claimed", "ready 1", "ready 2"]
        assert bodies(delayed.messages) == ["ready 1", "delayed", "ready 2"]
        assert bodies(await inbox.all()) == ["claimed", "ready 1", "delayed", "ready 2"]

    async def test_a_reader_can_leave_out_what_one_poster_sent(self, inbox: Inbox) -> None:
        for number in range(30):
            await inbox.post(f"mine {number}", poster=b"me")
        await inbox.post("yours", poster=b"you")
        await inbox.post("nobody's")
        page = await inbox.page(hide_poster=b"me", limit=10)
        assert bodies(page.messages) == ["yours", "nobody's"]
        assert bodies((await inbox.page(hide_poster=b"m")).messages)[:1] == ["mine 0"]

    async def test_hiding_a_poster_applies_to_claimed_and_delayed_messages_too(
        self, inbox: Inbox
    ) -> None:
        await inbox.post("claimed", poster=b"me")
        await inbox.claim()
        await inbox.post("delayed", poster=b"me", delay=MINUTE)
        await inbox.post("ready", poster=b"you")
        page = await inbox.page(hide_poster=b"me", include_claimed=True, include_delayed=True)
        assert bodies(page.messages) == ["ready"]

    async def test_hiding_a_poster_never_shortens_a_page(self, inbox: Inbox) -> None:
        for number in range(12):
            await inbox.post(f"mine {number}", poster=b"me")
            await inbox.post(f"yours {number}", poster=b"you")
        first = await inbox.page(hide_poster=b"me", limit=7)
        second = await inbox.page(hide_poster=b"me", limit=7, after=first.marker)
        seen = bodies(first.messages + second.messages)
        assert seen == [f"yours {n}" for n in range(12)]
        assert len(first.messages) == 7

    async def test_an_empty_page_gives_the_start_back_as_its_marker(self, inbox: Inbox) -> None:
        assert (await inbox.page(after=Position(77))).marker == 77
        await inbox.post("a")
        end = (await inbox.page()).marker
        assert (await inbox.page(after=end)).marker == end
        assert (await inbox.page(limit=5, after=BEFORE_ALL)).marker == end

    @pytest.mark.parametrize("limit", [1, 3, 10, 11])
    async def test_a_walk_over_pages_sees_each_message_once_and_in_order(
        self, inbox: Inbox, limit: int
    ) -> None:
        letters = [str(n) for n in range(10)]
        await inbox.post(*letters)
        walked: list[str] = []
        page = await inbox.page(limit=limit)
        while page.messages:
            assert len(page.messages) <= limit
            walked += bodies(page.messages)
            page = await inbox.page(limit=limit, after=page.marker)
        assert walked == letters

    async def test_a_page_is_full_though_claimed_messages_stand_before_it(
        self, inbox: Inbox
    ) -> None:
        await inbox.post(*(str(n) for n in range(30)))
        await inbox.claim(limit=20)
        page = await inbox.page(limit=5)
        assert bodies(page.messages) == ["20", "21", "22", "23", "24"]

    async def _position(self, inbox: Inbox, message_id: str) -> Position:
        position = await inbox.store.messages.position_of(inbox.ref, message_id)
        assert position is not None
        return position
