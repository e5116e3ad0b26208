"""Who is asked whether he wants to be told, when, and how often."""

import random

import pytest

from nuska.core import Core, build_core
from nuska.core.confirmations import (
    ASK_ATTEMPTS,
    ASKED_AGAIN_AFTER,
    ConfirmationRules,
    page_link,
)
from nuska.core.subscriptions import SubscriptionChange, SubscriptionDraft
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration
from nuska.domain.signing import SignedTerms, Signer
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import ConfirmationRequest, Notification, Outcome
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

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        self.sent.append((subscription.subscriber, request))
        return Outcome(ok=self.works, latency=Duration(1))

    async def send(self, notification: Notification) -> Outcome:
        raise AssertionError("nothing is posted here")

    def endpoint(self, subscription: Subscription) -> str:
        return subscription.scheme

    async def close(self) -> None:
        pass


class House:
    def __init__(self, rules: ConfirmationRules) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(now=START, random_bytes=random.Random(1).randbytes)
        self.core: Core = build_core(store=self.store, clock=self.clock, confirmation=rules)
        self.postman = Postman()

    async def subscribe(self, subscriber: str, **more: object) -> Subscription:
        draft = SubscriptionDraft(subscriber=subscriber, **more)
        return await self.core.subscriptions.create(ACME, "jobs", draft)

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
    house = House(ConfirmationRules(who=who, signer=RULES.signer))
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
    assert house.core.desk.admits(terms, method="PUT", path=path)
    assert not house.core.desk.admits(terms, method="GET", path=path)
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
    house.clock.advance(milliseconds=ASKED_AGAIN_AFTER)
    assert await house.deliver() == [(MAIL, ASKED)]
    house.clock.advance(milliseconds=ASKED_AGAIN_AFTER)
    assert await house.deliver() == []


async def test_who_confirmed_meanwhile_is_not_asked_any_more() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
    assert await house.deliver() == []


async def test_who_leaves_is_told_how_to_come_back() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    assert await house.deliver() == [(MAIL, ASKED)]
    for goodbyes in ([(MAIL, GOODBYE)], [], []):  # one a minute, however often he changes his mind
        await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
        await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=False)
        assert await house.deliver() == goodbyes
    house.clock.advance(milliseconds=ASKED_AGAIN_AFTER)
    assert await house.deliver() == [(MAIL, GOODBYE)]
    assert not house.core.confirmations.may_be_told(
        await house.core.subscriptions.get(ACME, "jobs", made.id)
    )


async def test_another_address_is_asked_for_itself() -> None:
    house = House(RULES)
    made = await house.subscribe(MAIL)
    await house.core.subscriptions.confirm(ACME, "jobs", made.id, confirmed=True)
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
    assert waits == [60, 120, 240, 480, 960]


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


async def test_without_a_key_nobody_is_asked_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House(ConfirmationRules())
    made = await house.subscribe(MAIL)
    assert await house.deliver() == []
    assert "no signing key" in caplog.text
    assert house.core.confirmations.link(made) is None
