"""Asking subscribers whether they want to be told, and telling them that they no longer are.

Whom to ask is written down beside the subscription, and carried out by whoever follows its
queue: a crash forgets nobody, and a node that only serves callers sends nothing. Who cannot be
asked, because the operator has not set what that takes, is asked when he has; until then the
subscription says so.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from nuska.core.deliveries import NO_MESSAGE, Attempt
from nuska.core.letter_bounds import LetterBounds
from nuska.core.subscription_records import ASKS, SubscriptionRecords
from nuska.domain import letters
from nuska.domain.errors import NotAllowed, NotFound, Unavailable
from nuska.domain.internal import key_of, keys_below, origin, owner_of
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.signing import Signer, can_be_signed
from nuska.domain.subscriptions import (
    Confirmation,
    Subscription,
    SubscriptionId,
    Waiting,
    must_confirm,
)
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import ConfirmationRequest, Outcome, Sender
from nuska.interfaces.records import ABSENT, Record, RecordStore

PAGE_PATH = "/confirm"
"""Of the page at which a person confirms, below the public URL."""
ASK_ATTEMPTS = 5
ASKED_AGAIN_AFTER = seconds(60)
"""After a failure; longer after each."""
LONGEST_WISH = seconds(3600)
"""A subscriber who asks to be left alone for longer is asked again after this."""
TRIES = 20
"""How often a note is written again that another request has changed meanwhile."""
_PAGE = 200
_METHOD = "PUT"

Type = Literal["SubscriptionConfirmation", "UnsubscribeConfirmation"]
NoteAttempt = Callable[[Attempt], None]
"""Has an attempt stand in the subscription's log."""

log = logging.getLogger("nuska.confirmations")


class Ask(Struct, frozen=True, omit_defaults=True):
    """What one subscriber is to be sent."""

    type: Type
    next_at: Moment = Moment(0)
    """Not before."""
    failures: int = 0


class ConfirmationRules(Struct, frozen=True, kw_only=True):
    """What the operator says about confirmations."""

    who: Confirmation = "mail"
    signer: Signer | None = None
    public_url: str | None = None
    """Where subscribers reach the service, without a trailing slash."""
    sends_mail: bool = True
    goodbye_ttl: Duration = seconds(3600)
    """For how long one who has left can come back by the letter that he gets then."""

    def problem(self, scheme: str) -> str | None:
        """Why nobody of this kind can be asked; None when they can."""
        if self.signer is None:
            return "the server has no signing_key"
        if scheme != "mailto":
            return None
        if not self.sends_mail:
            return "the server sends no mail: smtp_mode is off"
        return None if self.public_url else "the server does not know its public_url"


class Confirmations:
    def __init__(self, records: RecordStore | None, clock: Clock, rules: ConfirmationRules) -> None:
        self._records = records
        self._clock = clock
        self._rules = rules
        self._bounds = None if records is None else LetterBounds(records, clock)

    def may_be_told(self, subscription: Subscription) -> bool:
        """Whether the subscriber has confirmed, or need not."""
        return subscription.confirmed or not self._must(subscription)

    def waiting(self, subscription: Subscription) -> Waiting | None:
        """What keeps the subscriber from being told, if that is his confirmation."""
        if self.may_be_told(subscription):
            return None
        problem = self._rules.problem(subscription.scheme)
        if problem is None and not can_be_signed(address_of(subscription)[0]):
            problem = "nothing can be signed for a project of such an id"
        return Waiting(problem)

    def problems(self) -> list[str]:
        """Who must confirm and cannot be asked, in sentences for the operator."""
        return [
            f"{who} cannot be asked to confirm: {why}."
            for kind, who in (("mailto", "Subscribers by mail"), ("https", "Webhooks"))
            if must_confirm(kind, self._rules.who) and (why := self._rules.problem(kind))
        ]

    def check_answer(
        self, subscription: Subscription, *, confirmed: bool, letter: Moment | None
    ) -> None:
        """Return if this answer counts: by a letter that ends at ``letter``, or of a member of
        the project. He cannot say yes for one who must say it himself: ``NotAllowed``."""
        if letter is not None:
            if not letters.is_for(subscription, letter):
                raise NotFound("There is no subscription of this id.")
        elif confirmed and not self.may_be_told(subscription):
            raise NotAllowed("Only the subscriber can confirm this, by what it has been sent.")

    def parting(self, subscription: Subscription) -> Subscription:
        """The subscription of one who leaves, so that his letter can last as long as it should."""
        return letters.lasting(subscription, after(self._clock.now(), self._rules.goodbye_ttl))

    async def ask(self, subscription: Subscription) -> None:
        """Have the subscriber asked if he must be and has not answered."""
        if not self.may_be_told(subscription):
            await self._note(subscription, "SubscriptionConfirmation")

    async def say_goodbye(self, subscription: Subscription) -> None:
        """Tell a subscriber who has left how to come back, where subscribers are asked at all."""
        if self._must(subscription):
            await self._note(subscription, "UnsubscribeConfirmation")

    async def carry_out(
        self, queue: QueueRef, senders: Mapping[str, Sender], note: NoteAttempt = lambda _: None
    ) -> Moment | None:
        """Send what is to be sent to subscribers of the queue; when to do so again, None when
        there is nothing. For the one node that follows the queue."""
        if self._records is None:
            return None
        moments = [
            await self._carry_out(record, queue, senders, note)
            async for record in self._asks_of(queue)
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def link(self, subscription: Subscription) -> str | None:
        """Where a person confirms or leaves; None where there is no such page."""
        request = self._request(subscription, "SubscriptionConfirmation")
        return None if request is None else page_link(request)

    def _must(self, subscription: Subscription) -> bool:
        return must_confirm(subscription.scheme, self._rules.who)

    async def _asks_of(self, queue: QueueRef) -> AsyncIterator[Record]:
        assert self._records is not None, "asked by the caller"
        start, end = keys_below(queue.project, queue.name)
        while page := await self._records.page(ASKS, after=start, before=end, limit=_PAGE):
            for record in page:
                yield record
            start = page[-1].key

    async def _carry_out(
        self, record: Record, queue: QueueRef, senders: Mapping[str, Sender], note: NoteAttempt
    ) -> Moment | None:
        """Do what one record says, if its time has come; when to look again."""
        assert self._records is not None, "asked by the caller"
        assert self._bounds is not None, "as there are records"
        asked, now = msgspec.json.decode(record.value, type=Ask), self._clock.now()
        subscription = await self._subscription(queue, record.key.rpartition(key_of("", ""))[2])
        gone = subscription is None or subscription.expires_at <= now
        if subscription is None or gone or not self._fits(asked, subscription):
            await self._records.remove(ASKS, record.key, version=record.version)
            return None
        if asked.next_at > now:
            return asked.next_at
        request = self._request(subscription, asked.type)
        sender = senders.get(subscription.scheme)
        if request is None or sender is None or self._rules.problem(subscription.scheme):
            return None  # until a process begins that can
        wait = await self._bounds.take(owner_of(queue.project), subscription.subscriber, asked.type)
        if wait is not None:
            return wait
        outcome = await sender.ask(subscription, request)
        left = _left(asked, outcome, self._clock.now())
        note(_attempt(subscription, asked, outcome, self._clock.now(), left))
        return await self._keep(record, left)

    def _fits(self, asked: Ask, subscription: Subscription) -> bool:
        """Whether the letter is still what its subscriber should get."""
        if asked.type == "UnsubscribeConfirmation":
            return self._must(subscription) and not subscription.confirmed
        return not self.may_be_told(subscription)

    async def _keep(self, record: Record, left: Ask | None) -> Moment | None:
        assert self._records is not None, "asked by the caller"
        if left is None:
            done = await self._records.remove(ASKS, record.key, version=record.version)
            return None if done else self._clock.now()
        value = msgspec.json.encode(left)
        kept = await self._records.put(ASKS, record.key, value, version=record.version)
        return left.next_at if kept else self._clock.now()

    async def _note(self, subscription: Subscription, type_: Type) -> None:
        if self._records is None:
            return
        key = key_of(subscription.queue.project, subscription.queue.name, subscription.id)
        value = msgspec.json.encode(Ask(type_))
        for _ in range(TRIES):
            record = await self._records.get(ASKS, key)
            version = ABSENT if record is None else record.version
            if await self._records.put(ASKS, key, value, version=version):
                return
        raise Unavailable("The subscription keeps changing under this request.")

    async def _subscription(self, queue: QueueRef, id_: str) -> Subscription | None:
        assert self._records is not None, "asked by the caller"
        seen = await SubscriptionRecords(self._records).subscription(queue, SubscriptionId(id_))
        return None if seen is None else seen.value

    def _request(self, subscription: Subscription, type_: Type) -> ConfirmationRequest | None:
        signer = self._rules.signer
        project, path = address_of(subscription)
        if signer is None or not can_be_signed(project):
            return None
        wanted = subscription.expires_at
        if type_ == "UnsubscribeConfirmation":
            wanted = after(self._clock.now(), self._rules.goodbye_ttl)
        terms = signer.sign(
            paths=(path,),
            methods=(_METHOD,),
            project=project,
            expires_at=letters.end_of_letter(subscription, wanted),
        )
        return ConfirmationRequest(
            type=type_,
            queue_name=subscription.queue.name,
            project=project,
            path=path,
            signature=terms.signature,
            expires=terms.expires,
            public_url=self._rules.public_url,
        )


def address_of(subscription: Subscription) -> tuple[str, str]:
    """The owner's project, and the path at which the subscription is confirmed."""
    queue = subscription.queue
    published = origin(queue, "topics")
    kind, project = (
        ("queues", queue.project) if published is None else ("topics", published.project)
    )
    return project, f"/v2/{kind}/{queue.name}/subscriptions/{subscription.id}/confirm"


def page_link(request: ConfirmationRequest) -> str | None:
    """The page for a person who has been sent ``request``; None without a public URL."""
    if request.public_url is None:
        return None
    query = {
        "Signature": request.signature,
        "Methods": _METHOD,
        "Paths": request.path,
        "Project": request.project,
        "Expires": request.expires,
    }
    return f"{request.public_url}{PAGE_PATH}?{urlencode(query)}"


def _left(asked: Ask, outcome: Outcome, now: Moment) -> Ask | None:
    """What is left to do after an attempt; None when nothing is, or nothing helps."""
    failures = asked.failures + 1
    if outcome.ok:
        return None
    if outcome.permanent or outcome.gone or failures >= ASK_ATTEMPTS:
        log.warning("a subscriber could not be asked to confirm", extra={"attempts": failures})
        return None
    wait = Duration(ASKED_AGAIN_AFTER * 2 ** (failures - 1))
    if outcome.retry_after is not None:
        wait = max(wait, min(outcome.retry_after, LONGEST_WISH))
    return Ask(asked.type, after(now, wait), failures)


def _attempt(
    subscription: Subscription, asked: Ask, outcome: Outcome, now: Moment, left: Ask | None
) -> Attempt:
    return Attempt(
        subscription=subscription.id,
        message=NO_MESSAGE,
        at=now,
        number=asked.failures + 1,
        ok=outcome.ok,
        latency=outcome.latency,
        status=outcome.status,
        error=outcome.error,
        next_at=None if left is None else left.next_at,
        letter=asked.type,
    )
