"""Who is asked whether he wants to be told, when, and how often."""

import asyncio
import random
from typing import Any, cast

import pytest
from msgspec.structs import replace

from nuska.core import Core, build_core
from nuska.core.confirmations import (
    ASK_ATTEMPTS,
    ConfirmationRules,
    page_link,
)
from nuska.core.deliveries import Attempt
from nuska.core.letter_bounds import BETWEEN_LETTERS, LETTERS, LETTERS_PER_DAY, LetterBounds
from nuska.core.subscription_making import SubscriptionDraft
from nuska.core.subscriptions import SubscriptionChange
from nuska.domain.errors import NotAllowed, NotFound
from nuska.domain.messages import QueueRef
from nuska.domain.moments import LAST_MOMENT, Duration, Moment, seconds
from nuska.domain.signing import SignedTerms, Signer
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import ConfirmationRequest, Notification, Outcome
from nuska.interfaces.records import RecordStore
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import START, ManualClock

ACME = Caller("acme")
JOBS = QueueRef("acme", "jobs")
MAIL = "mailto:ann@example.org"
HOOK = "https://hooks.example.net/in"
RULES = ConfirmationRules(signer=Signer("a key for tests"), public_url="https://mq.example.net")


class Postman:
    """A sender that keeps what it was to send, and fails while told to."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, ConfirmationRequest]] = []
        self.works = True
        self.permanently = False

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        self.sent.append((subscription.subscriber, request))
        ok = self.works and not self.permanently
        return Outcome(ok=ok, latency=Duration(1), permanent=self.permanently)

    async def send(self, notification: Notification) -> Outcome:
        raise AssertionError("nothing is posted here")

    def endpoint(self, subscription: Subscription) -> str:
        return subscription.scheme

    async def close(self) -> None:
        pass


class House:
    def __init__(self, rules: ConfirmationRules, before: "House | None" = None) -> None:
        """``before``: another node of the same store, or this one before a restart."""
        if before is None:
            self.clock = ManualClock()
            self.store = MemoryStore(now=START, random_bytes=random.Random(1).randbytes)
        else:
            self.clock, self.store = before.clock, before.store
        self.core: Core = build_core(store=self.store, clock=self.clock, confirmation=rules)
        self.postman = Postman()

    async def subscribe(self, subscriber: str, **more: object) -> Subscription:
        draft = SubscriptionDraft(subscriber=subscriber, **more)
        return await self.core.subscriptions.create(ACME, "jobs", draft)

    async def say_yes(self, made: Subscription) -> None:
        """As the subscriber does who has had his letter."""
        await self.core.subscriptions.confirm(
            ACME, "jobs", made.id, confirmed=True, letter=LAST_MOMENT
        )

    async def deliver(self) -> list[tuple[str, str]]:
        """Whom what was sent, just now."""
        before = len(self.postman.sent)
        senders = {"mailto": self.postman, "https": self.postman}
        await self.core.confirmations.carry_out(JOBS, senders)
        return [(to, request.type) for to, request in self.postman.sent[before:]]


ASKED = "SubscriptionConfirmation"
GOODBYE = "UnsubscribeConfirmation"


@pytest.mark.parametrize(("who", "asked"), [("mail", [MAIL]), ("all", [HOOK, MAIL]), ("none", [])])
async def test_those_are_asked_who_must_be(who: str, asked: list[str]) -> None:
    house = House(replace(RULES, who=who))
    for subscriber in (MAIL, HOOK, "queue:others"):
        made = await house.subscribe(subscriber)
        assert house.core.confirmations.may_be_told(made) is (subscriber not in asked)
    assert sorted(await house.deliver()) == [(one, ASKED) for one in asked]
    assert await house.deliver() == []


async def test_what_is_sent_opens_the_confirm_route_and_nothing_else() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL, ttl=600)
    await house.deliver()
    request = house.postman.sent[0][1]
    path = f"/v2/queues/jobs/subscriptions/{made.id}/confirm"
    assert (request.path, request.project, request.queue_name) == (path, "acme", "jobs")
    assert request.expires == "2030-01-01T00:10:00"
    terms = SignedTerms(
        paths=(path,),
        methods=("PUT",),
        project="acme",
        expires=request.expires,
        signature=request.signature,
    )
    assert house.core.desk.look_at(terms, method="PUT", path=path) is not None
    assert house.core.desk.look_at(terms, method="GET", path=path) is None
    link = page_link(request)
    assert link is not None
    assert link.startswith("https://mq.example.net/confirm?Signature=")
    assert house.core.confirmations.link(made) == link


async def test_a_repeated_subscription_asks_again_but_not_at_once() -> None:
    house = House(RULES)
    await house.subscribe(MAIL)
    assert await house.deliver() == [(MAIL, ASKED)]
    for _ in range(5):
        await house.subscribe(MAIL)
        assert await house.deliver() == []
    house.clock.advance(milliseconds=BETWEEN_LETTERS)
    assert await house.deliver() == [(MAIL, ASKED)]
    house.clock.advance(milliseconds=BETWEEN_LETTERS)
    assert await house.deliver() == []


async def test_who_confirmed_meanwhile_is_not_asked_any_more() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    await house.say_yes(made)
    assert await house.deliver() == []


async def test_who_leaves_is_told_how_to_come_back() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    assert await house.deliver() == [(MAIL, ASKED)]
    for goodbyes in ([(MAIL, GOODBYE)], [], []):  # one a minute, however often he changes his mind
        await house.say_yes(made)
        await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=False)
        assert await house.deliver() == goodbyes
    house.clock.advance(milliseconds=BETWEEN_LETTERS)
    assert await house.deliver() == [(MAIL, GOODBYE)]
    assert not house.core.confirmations.may_be_told(
        await house.core.subscriptions.get(ACME, "jobs", made.id)
    )


async def test_another_address_is_asked_for_itself() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    await house.say_yes(made)
    change = SubscriptionChange(subscriber="mailto:bob@example.org")
    await house.core.subscriptions.update(ACME, "jobs", made.id, change)
    assert await house.deliver() == [("mailto:bob@example.org", ASKED)]


async def test_one_who_cannot_be_reached_is_tried_ever_more_rarely_and_then_left_alone() -> None:
    house = House(RULES)
    house.postman.works = False
    await house.subscribe(MAIL)
    senders = {"mailto": house.postman}
    waits = []
    for _ in range(20):
        again = await house.core.confirmations.carry_out(JOBS, senders)
        if again is None:
            break
        waits.append((again - house.clock.now()) // 1000)
        house.clock.advance(milliseconds=again - house.clock.now())
    assert len(house.postman.sent) == ASK_ATTEMPTS
    assert waits == [60, 120, 240, 480]


@pytest.mark.parametrize("asked_before", [False, True])
async def test_nothing_is_left_of_an_ask_when_its_subscription_has_gone(
    asked_before: bool,
) -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    if asked_before:
        await house.deliver()
    await house.core.subscriptions.delete(ACME, "jobs", made.id)
    assert await house.deliver() == []
    assert await house.store.records.page("asks", limit=10) == []


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (replace(RULES, signer=None), "the server has no signing_key"),
        (replace(RULES, public_url=None), "the server does not know its public_url"),
        (replace(RULES, sends_mail=False), "the server sends no mail: smtp_mode is off"),
    ],
)
async def test_who_cannot_be_asked_is_asked_when_he_can(
    rules: ConfirmationRules, problem: str
) -> None:
    house = House(rules)
    made = await house.subscribe(MAIL)
    waiting = house.core.confirmations.waiting(made)
    assert waiting is not None
    assert waiting.problem == problem
    assert await house.deliver() == []
    mended = House(RULES, house)
    waiting = mended.core.confirmations.waiting(made)
    assert waiting is not None
    assert waiting.problem is None
    assert await mended.deliver() == [(MAIL, ASKED)]
    await mended.say_yes(made)
    now = await mended.core.subscriptions.get(ACME, "jobs", made.id)
    assert mended.core.confirmations.waiting(now) is None


# For whom a letter is


def ends_of(request: ConfirmationRequest) -> Moment:
    terms = SignedTerms(
        paths=(request.path,),
        methods=("PUT",),
        project=request.project,
        expires=request.expires,
        signature=request.signature,
    )
    assert terms.ends is not None
    return terms.ends


async def test_a_letter_to_one_subscriber_says_nothing_for_the_next() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    await house.deliver()
    other = SubscriptionChange(subscriber="mailto:bob@example.org")
    await house.core.subscriptions.update(ACME, "jobs", made.id, other)
    await house.deliver()
    old, new = (ends_of(request) for _, request in house.postman.sent)
    for answer in (True, False):
        with pytest.raises(NotFound):
            await house.core.subscriptions.confirm(
                ACME, "jobs", made.id, confirmed=answer, letter=old
            )
    await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True, letter=new)
    assert (await house.core.subscriptions.get(ACME, "jobs", made.id)).confirmed


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_changed_only_letters_to_the_present_subscriber_count(seed: int) -> None:
    """Every letter that was ever sent, tried at the end of a random life."""
    chance = random.Random(seed)
    house = House(RULES)
    made = await house.subscribe("mailto:a@example.org", ttl=chance.choice([60, 10**6, 2**37]))
    own: list[int] = []  # letters to the present subscriber
    subscriber = made.subscriber
    for _ in range(30):
        match chance.randrange(5):
            case 0:
                to = f"mailto:{chance.choice('abcd')}@example.org"
                change = SubscriptionChange(subscriber=to)
                if to != subscriber:
                    own, subscriber = [], to
                await house.core.subscriptions.update(ACME, "jobs", made.id, change)
            case 1:
                change = SubscriptionChange(ttl=chance.choice([3000, 10**5, 2**36]))
                await house.core.subscriptions.update(ACME, "jobs", made.id, change)
            case 2:
                house.clock.advance(milliseconds=chance.choice([1, 999, 61_000]))
            case 3:
                await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=False)
            case 4:
                found = await house.core.subscriptions.get(ACME, "jobs", made.id)
                if not found.confirmed:
                    await house.core.confirmations.ask(found)
        before = len(house.postman.sent)
        await house.deliver()
        own += range(before, len(house.postman.sent))
    letters = [ends_of(request) for _, request in house.postman.sent]
    for number, ends in enumerate(letters):
        found = await house.core.subscriptions.get(ACME, "jobs", made.id)
        if number in own:
            house.core.confirmations.check_answer(found, confirmed=True, letter=ends)
        else:
            with pytest.raises(NotFound):
                house.core.confirmations.check_answer(found, confirmed=True, letter=ends)


async def test_a_member_says_no_for_one_who_must_confirm_and_never_yes() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    with pytest.raises(NotAllowed):
        await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
    await house.say_yes(made)
    await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)  # it is so
    await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=False)
    with pytest.raises(NotAllowed):
        await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
    hook = await house.subscribe(HOOK)
    await house.core.subscriptions.confirm(ACME, "jobs", hook.id, confirmed=True)


async def test_a_change_does_not_undo_the_no_of_a_subscriber() -> None:
    house = House(RULES)
    hook = await house.subscribe(HOOK)
    await house.core.subscriptions.confirm(ACME, "jobs", hook.id, confirmed=False)
    left = await house.core.subscriptions.update(ACME, "jobs", hook.id, SubscriptionChange(ttl=90))
    assert left.has_left
    change = SubscriptionChange(subscriber=f"{HOOK}/2")
    other = await house.core.subscriptions.update(ACME, "jobs", hook.id, change)
    assert other.disabled is None


# How often


async def test_making_and_removing_subscriptions_in_a_loop_sends_one_letter_a_minute() -> None:
    house = House(RULES)
    variants = [MAIL, f"{MAIL}?subject=1", "mailto:ann@EXAMPLE.org", f"{MAIL},bob@example.org"]
    sent = []
    for number in range(40):
        made = await house.subscribe(variants[number % len(variants)])
        sent += await house.deliver()
        await house.core.subscriptions.delete(ACME, "jobs", made.id)
        house.clock.advance(milliseconds=BETWEEN_LETTERS // 4)
    assert len(sent) == 10


async def test_a_project_sends_nobody_more_than_so_many_letters_a_day() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL, ttl=10**6)
    sent = 0
    for _ in range(LETTERS_PER_DAY + 5):
        await house.core.confirmations.ask(made)
        sent += len(await house.deliver())
        house.clock.advance(milliseconds=BETWEEN_LETTERS)
    assert sent == LETTERS_PER_DAY
    house.clock.advance(seconds=86_400)
    assert await house.deliver() == [(MAIL, ASKED)]


async def test_two_nodes_count_together() -> None:
    house = House(RULES)
    other = House(RULES, house)
    made = await house.subscribe(MAIL)
    assert await house.deliver() == [(MAIL, ASKED)]
    await other.core.confirmations.ask(made)
    assert await other.deliver() == []


class Hesitant:
    """Records that let others run before every step."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    def __getattr__(self, name: str) -> Any:
        async def hesitate(*args: Any, **named: Any) -> Any:
            await asyncio.sleep(0)
            return await getattr(self._records, name)(*args, **named)

        return hesitate


async def test_of_letters_that_nodes_would_send_at_one_moment_one_is_sent() -> None:
    house = House(RULES)
    records = cast(RecordStore, Hesitant(house.store.records))
    nodes = [LetterBounds(records, house.clock), LetterBounds(records, house.clock)]
    waits = await asyncio.gather(
        *(nodes[n % 2].take("acme", f"mailto:ann@example.org?subject={n}", ASKED) for n in range(8))
    )
    assert waits.count(None) == 1
    assert set(waits) == {None, house.clock.now() + BETWEEN_LETTERS}


async def test_counts_of_letters_are_removed_when_they_are_over() -> None:
    house = House(RULES)
    for number in range(30):
        await house.subscribe(f"mailto:{number}@example.org", ttl=60)
    await house.deliver()
    assert len(await house.store.records.page(LETTERS, limit=100)) == 30
    house.clock.advance(seconds=86_400)
    for number in range(20):
        await house.subscribe(f"mailto:new{number}@example.org")
        await house.deliver()
    assert len(await house.store.records.page(LETTERS, limit=100)) == 20


# What stands in the log


async def test_attempts_to_ask_are_noted() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    house.postman.works = False
    noted: list[Attempt] = []
    senders = {"mailto": house.postman}
    await house.core.confirmations.carry_out(JOBS, senders, noted.append)
    house.clock.advance(milliseconds=BETWEEN_LETTERS)
    house.postman.works = True
    await house.core.confirmations.carry_out(JOBS, senders, noted.append)
    first, second = noted
    assert (first.subscription, first.number, first.ok, first.letter) == (made.id, 1, False, ASKED)
    assert first.next_at == first.at + seconds(60)
    assert (second.number, second.ok, second.next_at) == (2, True, None)


async def test_what_cannot_succeed_is_not_tried_again() -> None:
    house = House(RULES)
    house.postman.permanently = True
    await house.subscribe(MAIL)
    await house.deliver()
    assert await house.core.confirmations.carry_out(JOBS, {"mailto": house.postman}) is None
    assert len(house.postman.sent) == 1
