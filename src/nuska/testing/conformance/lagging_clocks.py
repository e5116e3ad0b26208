"""What a shared store promises to nodes whose clocks differ by a few milliseconds.

All nodes live by the store's time, and each measures it a little wrongly. A driver's tests
subclass this and provide ``new_url``. Each sentence is about one thing that a node whose clock is
right leaves behind, and what comes next by a clock that is behind.
"""

from collections.abc import AsyncIterator

import pytest
from hypothesis.stateful import run_state_machine_as_test

from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment
from nuska.testing.clock import START, ManualClock
from nuska.testing.conformance.inbox import MINUTE, NOTHING, Inbox, sweep_all
from nuska.testing.opening import opening_stores
from nuska.testing.two_clocks import NewUrl, nodes_at
from nuska.testing.walks import walks

LAG = 3
"""Milliseconds."""
TTL = Duration(10_000)
ANYTHING = walks(30, steps=40)


class LaggingClockConformance:
    @pytest.fixture
    def new_url(self) -> NewUrl:
        """Gives the URL of one more empty store."""
        raise NotImplementedError("a driver's tests provide it")

    @pytest.fixture
    def url(self, new_url: NewUrl) -> str:
        return new_url()

    @pytest.mark.slow
    def test_whatever_two_nodes_do_no_message_is_in_two_claims_nor_out_of_its_time(
        self, new_url: NewUrl
    ) -> None:
        run_state_machine_as_test(nodes_at(new_url), settings=ANYTHING)

    @pytest.fixture
    async def right(self, url: str) -> AsyncIterator[Inbox]:
        async with opening_stores() as open_at:
            yield Inbox(await open_at(url), ManualClock(Moment(START + LAG)))

    @pytest.fixture
    async def behind(self, url: str, right: Inbox) -> AsyncIterator[Inbox]:
        async with opening_stores() as open_at:
            yield Inbox(await open_at(url), ManualClock(Moment(right.now - LAG)))

    @pytest.mark.parametrize("cause", ["sweep", "look", "claim", "pop"])
    async def test_a_claim_begins_when_the_one_before_has_ended_though_others_saw_that_first(
        self, right: Inbox, behind: Inbox, cause: str
    ) -> None:
        await behind.post("one", "two")
        end = (await behind.claim(1, ttl=TTL))[0].available_at
        until(right, behind, end)
        await see_to(right, cause)
        for message in await behind.claim(3):
            assert begin(message) >= end

    async def test_a_claim_begins_when_a_delay_is_over_though_others_saw_that_first(
        self, right: Inbox, behind: Inbox
    ) -> None:
        await behind.post("later", delay=TTL)
        due = Moment(behind.now + TTL)
        until(right, behind, due)
        await sweep_all(right.store, right.clock)
        for message in await behind.claim(1):
            assert begin(message) >= due

    async def test_a_claim_begins_when_the_one_before_has_been_released(
        self, right: Inbox, behind: Inbox
    ) -> None:
        await behind.post("one")
        await behind.claim(1)
        assert await right.release(1) == 1
        [message] = await behind.claim(2)
        assert begin(message) >= right.now

    @pytest.mark.parametrize("cause", ["sweep", "look", "claim", "pop"])
    async def test_a_claim_is_renewed_with_its_messages_or_not_at_all(
        self, right: Inbox, behind: Inbox, cause: str
    ) -> None:
        """Message and claim end together; they are there for both clocks, or for none."""
        await behind.post("one", ttl=TTL)
        [message] = await behind.claim(1, ttl=TTL, grace=NOTHING)
        assert message.expires_at == message.available_at
        until(right, behind, message.available_at)
        await see_to(right, cause)
        if await behind.renew(1):
            held = await behind.held(1)
            assert held is not None
            assert [one.id for one in held.messages] == [message.id]

    async def test_a_renewal_does_not_begin_before_the_claim(
        self, right: Inbox, behind: Inbox
    ) -> None:
        await behind.post("one")
        [message] = await right.claim(1, ttl=TTL)
        assert await behind.renew(1, ttl=TTL)
        held = await behind.held(1)
        assert held is not None
        assert held.expires_at >= message.available_at

    async def test_a_dead_letter_is_not_claimed_before_its_last_claim_has_ended(
        self, right: Inbox, behind: Inbox
    ) -> None:
        await behind.post("one")
        dead = behind.beside("dead")
        await dead.post("first")
        [message] = await behind.claim(1, ttl=TTL)
        until(right, behind, message.available_at)
        claimed = await right.claiming(2, dead_letters=right.beside("dead").rule(1))
        assert claimed.dead_lettered == 1
        letters = [one for one in await dead.claim(3) if one.id == message.id]
        assert all(begin(one) >= message.available_at for one in letters)

    async def test_nothing_is_claimed_after_its_end_though_dead_letters_are_ahead(
        self, right: Inbox, behind: Inbox
    ) -> None:
        await behind.post("tired")
        await behind.claim(1)
        await behind.release(1)
        [short] = await behind.post("short", ttl=Duration(LAG))
        end = (await behind.one(short)).expires_at
        await right.beside("dead").post("ahead")
        claimed = await behind.claiming(2, dead_letters=behind.beside("dead").rule(1))
        assert claimed.dead_lettered == 1
        assert all(begin(one) < end for one in claimed.messages)


def begin(message: Message, ttl: Duration = MINUTE) -> int:
    return message.available_at - ttl


def until(right: Inbox, behind: Inbox, moment: Moment) -> None:
    """Let it be ``moment`` by the clock that is right."""
    right.clock.advance(milliseconds=moment - right.now)
    behind.clock.advance(milliseconds=moment - LAG - behind.now)


async def see_to(inbox: Inbox, cause: str) -> None:
    """Something that can leave a mark of the moment at which it is done."""
    match cause:
        case "sweep":
            await sweep_all(inbox.store, inbox.clock)
        case "look":
            await inbox.listed()
            await inbox.stats()
        case "claim":
            await inbox.claim(2, limit=1)
        case "pop":
            await inbox.pop(1)
