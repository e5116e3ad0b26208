"""Asking subscribers whether they want to be told, and telling them that they no longer are.

Whom to ask is written down beside the subscription, and carried out by whoever follows its
queue: a crash forgets nobody, and a node that only serves callers sends nothing. Without a
signing key nobody can answer, so nobody is asked; that is said in the log.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.errors import Unavailable
from nuska.domain.internal import key_of, keys_below, origin
from nuska.domain.messages import QueueRef
from nuska.domain.moments import LAST_MOMENT, Duration, Moment, after, seconds
from nuska.domain.signing import SignedTerms, Signer
from nuska.domain.subscriptions import Confirmation, Subscription, SubscriptionId, must_confirm
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import ConfirmationRequest, Sender
from nuska.interfaces.records import ABSENT, Record, RecordStore

PAGE_PATH = "/confirm"
"""Of the page at which a person confirms, below the public URL."""
ASKS = "asks"
ASK_ATTEMPTS = 5
ASKED_AGAIN_AFTER = seconds(60)
"""Between two letters of a type to one subscriber, whoever asks for them; longer after each
failure."""
TRIES = 20
"""How often a note is written again that another request has changed meanwhile."""
_PAGE = 200
_METHOD = "PUT"

Type = Literal["SubscriptionConfirmation", "UnsubscribeConfirmation"]

log = logging.getLogger("nuska.confirmations")


class Ask(Struct, frozen=True, omit_defaults=True):
    """What one subscriber is to be sent, or has been lately."""

    type: Type | None
    """None: nothing more for now."""
    next_at: Moment = Moment(0)
    """Not before."""
    failures: int = 0
    sent: dict[Type, Moment] = {}
    """From when each type may be sent once more."""


class ConfirmationRules(Struct, frozen=True, kw_only=True):
    """What the operator says about confirmations."""

    who: Confirmation = "mail"
    signer: Signer | None = None
    public_url: str | None = None
    """Where subscribers reach the service, without a trailing slash."""
    goodbye_ttl: Duration = seconds(3600)
    """For how long one who has left can come back by the letter that he gets then."""


class Confirmations:
    def __init__(self, records: RecordStore | None, clock: Clock, rules: ConfirmationRules) -> None:
        self._records = records
        self._clock = clock
        self._rules = rules

    def may_be_told(self, subscription: Subscription) -> bool:
        """Whether the subscriber has confirmed, or need not."""
        return subscription.confirmed or not must_confirm(subscription.scheme, self._rules.who)

    async def ask(self, subscription: Subscription) -> None:
        """Have the subscriber asked if he must be and has not answered."""
        if not self.may_be_told(subscription):
            await self._note(subscription, "SubscriptionConfirmation")

    async def say_goodbye(self, subscription: Subscription) -> None:
        """Tell a subscriber who has left how to come back, where subscribers are asked at all."""
        if must_confirm(subscription.scheme, self._rules.who):
            await self._note(subscription, "UnsubscribeConfirmation")

    async def carry_out(self, queue: QueueRef, senders: Mapping[str, Sender]) -> Moment | None:
        """Send what is to be sent to subscribers of the queue; when to do so again, None when
        there is nothing. For the one node that follows the queue."""
        if self._records is None:
            return None
        moments = [
            await self._send(record, queue, senders) async for record in self._asks_of(queue)
        ]
        return min((moment for moment in moments if moment is not None), default=None)

    def link(self, subscription: Subscription) -> str | None:
        """Where a person confirms or leaves; None where there is no such page."""
        request = self._request(subscription, "SubscriptionConfirmation")
        return None if request is None else page_link(request)

    async def _asks_of(self, queue: QueueRef) -> AsyncIterator[Record]:
        assert self._records is not None, "asked by the caller"
        start, end = keys_below(queue.project, queue.name)
        while page := await self._records.page(ASKS, after=start, before=end, limit=_PAGE):
            for record in page:
                yield record
            start = page[-1].key

    async def _send(
        self, record: Record, queue: QueueRef, senders: Mapping[str, Sender]
    ) -> Moment | None:
        assert self._records is not None, "asked by the caller"
        asked, now = msgspec.json.decode(record.value, type=Ask), self._clock.now()
        subscription = await self._subscription(queue, record.key.rpartition(key_of("", ""))[2])
        gone = subscription is None or subscription.expires_at <= now
        if subscription is None or gone or (asked.type is None and asked.next_at <= now):
            await self._records.remove(ASKS, record.key, version=record.version)
            return None
        if asked.type is None or asked.next_at > now:
            return asked.next_at
        done = asked.type == "SubscriptionConfirmation" and subscription.confirmed
        request = self._request(subscription, asked.type)
        sender = senders.get(subscription.scheme)
        if not done and request is not None and sender is not None:
            asked = _after(asked, ok=(await sender.ask(subscription, request)).ok, now=now)
        else:
            asked = Ask(None, max(asked.sent.values(), default=Moment(0)), sent=asked.sent)
        kept = await self._records.put(
            ASKS, record.key, msgspec.json.encode(asked), version=record.version
        )
        return asked.next_at if kept else now

    async def _note(self, subscription: Subscription, type_: Type) -> None:
        if self._rules.signer is None:
            log.warning(
                "nobody can confirm a subscription: there is no signing key",
                extra={"subscription": subscription.id},
            )
            return
        if self._records is None:
            return
        key = key_of(subscription.queue.project, subscription.queue.name, subscription.id)
        for _ in range(TRIES):
            record = await self._records.get(ASKS, key)
            before = None if record is None else msgspec.json.decode(record.value, type=Ask)
            sent = {} if before is None else before.sent
            ask = Ask(type_, sent.get(type_, Moment(0)), sent=sent)
            version = ABSENT if record is None else record.version
            if await self._records.put(ASKS, key, msgspec.json.encode(ask), version=version):
                return
        raise Unavailable("The subscription keeps changing under this request.")

    async def _subscription(self, queue: QueueRef, id_: str) -> Subscription | None:
        assert self._records is not None, "asked by the caller"
        seen = await SubscriptionRecords(self._records).subscription(queue, SubscriptionId(id_))
        return None if seen is None else seen.value

    def _request(self, subscription: Subscription, type_: Type) -> ConfirmationRequest | None:
        signer = self._rules.signer
        if signer is None:
            return None
        project, path = address_of(subscription)
        ends = subscription.expires_at
        if type_ == "UnsubscribeConfirmation":
            ends = after(self._clock.now(), self._rules.goodbye_ttl)
        terms = signer.sign(
            paths=(path,),
            methods=(_METHOD,),
            project=project,
            expires_at=min(ends, LAST_MOMENT),
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


class ConfirmationDesk:
    """Who checks what a subscriber shows with his answer."""

    def __init__(self, signer: Signer | None, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock

    def admits(self, terms: SignedTerms, *, method: str, path: str) -> bool:
        """Whether this is a request that the service has signed; never without a key."""
        signer = self._signer
        return signer is not None and signer.verifies(
            terms, method=method, path=path, now=self._clock.now()
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


def _after(asked: Ask, *, ok: bool, now: Moment) -> Ask:
    """What is left to do after an attempt. The last note stays until everything may be sent."""
    assert asked.type is not None, "there was something to send"
    failures = 0 if ok else asked.failures + 1
    again = after(now, Duration(ASKED_AGAIN_AFTER * 2 ** max(failures - 1, 0)))
    if not ok and failures < ASK_ATTEMPTS:
        return Ask(asked.type, again, failures, asked.sent)
    if not ok:
        log.warning("a subscriber could not be asked to confirm", extra={"attempts": failures})
    sent = {**asked.sent, asked.type: again}
    return Ask(None, max(sent.values()), sent=sent)
