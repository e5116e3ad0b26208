"""Subscribers reached by HTTP: one POST for each message.

Makes one attempt and says what came of it. What is sent is put into words in ``domain``;
whether and when to try again is decided by whoever asked.
"""

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Mapping

from msgspec import Struct

from nuska import __version__
from nuska.delivery.senders.connections import Connections, Origin
from nuska.delivery.senders.documents import Documents
from nuska.delivery.senders.http1 import CallFailed
from nuska.delivery.senders.outcomes import answered, failed, refused
from nuska.delivery.senders.requests import head
from nuska.domain.egress import EgressPolicy, WebhookUrl, judge_url
from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.moments import Duration, Moment
from nuska.domain.subscriptions import Options, Subscription
from nuska.domain.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    WebhookOptions,
    parse_webhook_options,
    signature,
)
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import ConfirmationRequest, Notification, Outcome

USER_AGENT = f"Nuska/{__version__}"
JSON = "application/json"
CLOUDEVENTS_JSON = "application/cloudevents+json"
UNKNOWN = "unknown"
"""The endpoint of what cannot be called at all."""
PREPARED_KEPT = 10_240
"""Subscriptions whose options are not parsed again for the next message."""

log = logging.getLogger("nuska.delivery")


class Way(Struct, frozen=True, gc=False):
    """How a subscriber is reached."""

    url: WebhookUrl
    origin: Origin
    webhook: WebhookOptions
    described: dict[str, str]
    """Headers that stand unless the subscription says otherwise."""
    own: dict[str, str]
    """Headers that the subscription names."""
    head: bytes
    """Of a request with these."""

    def head_with(self, below: Mapping[str, str], above: Mapping[str, str]) -> bytes:
        """With more headers, which give way to the subscription's own, or which do not."""
        if not (below or above):
            return self.head
        return head(self.url, self.described, below, self.own, above)


class Prepared(Struct, frozen=True, gc=False):
    """What a subscription's text and options come to."""

    subscriber: str
    options: Options
    endpoint: str
    way: Way | None = None
    refusal: str = ""
    """Why it cannot be called; empty when it can."""


class WebhookSender:
    """Implements ``Sender`` for ``http``, ``https``, and, given a token, for ``trust+``."""

    def __init__(self, connections: Connections, policy: EgressPolicy, clock: Clock) -> None:
        self._connections = connections
        self._policy = policy
        self._clock = clock
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()
        self._documents = Documents()

    async def send(self, notification: Notification) -> Outcome:
        return await self.send_as(notification, {})

    async def send_as(self, notification: Notification, more: Mapping[str, str]) -> Outcome:
        """``send`` with more headers, below those that the subscription names."""
        prepared = self._prepare(notification.subscription)
        way = prepared.way
        if way is None:
            return refused(prepared.refusal)
        try:
            body, about = self._documents.written(notification, way.webhook)
            start = way.head_with(more, about)
        except (InvalidInput, ValueError) as error:
            return refused(str(error))
        event = f"msg_{notification.subscription.id}_{notification.message.id}"
        return await self._post(way, event, start, body)

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        return await self.ask_as(subscription, request, {})

    async def ask_as(
        self, subscription: Subscription, request: ConfirmationRequest, more: Mapping[str, str]
    ) -> Outcome:
        """``ask`` with more headers."""
        prepared = self._prepare(subscription)
        way = prepared.way
        if way is None:
            return refused(prepared.refusal)
        event = f"ask_{subscription.id}_{request.signature[:32]}"
        body = json.dumps(confirmation(request)).encode()
        try:
            start = head(way.url, way.described, {"Content-Type": JSON}, more, way.own)
        except ValueError as error:
            return refused(str(error))
        return await self._post(way, event, start, body)

    def endpoint(self, subscription: Subscription) -> str:
        return self._prepare(subscription).endpoint

    async def close(self) -> None:
        await self._connections.close()

    def _prepare(self, subscription: Subscription) -> Prepared:
        found = self._prepared.get(subscription.id)
        if (
            found is None
            or found.options is not subscription.options
            or found.subscriber != subscription.subscriber
        ):
            found = _prepared(subscription, self._policy)
            self._prepared[subscription.id] = found
            if len(self._prepared) > PREPARED_KEPT:
                self._prepared.popitem(last=False)
        return found

    async def _post(self, way: Way, event: str, start: bytes, body: bytes) -> Outcome:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            signed = self._signed(way.webhook.secrets, event, body) if way.webhook.secrets else b""
            request = b"%b%d%b\r\n\r\n%b" % (start, len(body), signed, body)
            answer = await self._connections.post(way.origin, request)
            now = Moment(0) if answer.retry_after is None else self._clock.now()
        except Exception as error:
            return failed(_in_words(error), _since(started, loop.time()))
        return answered(answer.status, answer.retry_after, _since(started, answer.at), now)

    def _signed(self, secrets: tuple[bytes, ...], event: str, body: bytes) -> bytes:
        """The headers of Standard Webhooks."""
        moment = self._clock.now() // 1000
        return (
            f"\r\n{ID_HEADER}: {event}\r\n{TIMESTAMP_HEADER}: {moment}"
            f"\r\n{SIGNATURE_HEADER}: {signature(secrets, event, moment, body)}"
        ).encode()


def _since(started: float, ended: float) -> Duration:
    return Duration(round((ended - started) * 1000))


def _in_words(error: Exception) -> str:
    """What went wrong, without anything that the error's own text may repeat."""
    if isinstance(error, CallFailed):
        return str(error)
    if isinstance(error, Unavailable):
        return error.description
    log.error("An attempt failed in an unexpected way: %s.", type(error).__name__)
    return "The attempt failed in an unexpected way."


def confirmation(request: ConfirmationRequest) -> dict[str, object]:
    """The document of contract notifications §5."""
    if request.type == "UnsubscribeConfirmation":
        message = (
            f"You have unsubscribed from the queue: {request.queue_name}. "
            'To subscribe again, confirm with {"confirmed": true}.'
        )
    else:
        message = f"You have chosen to subscribe to the queue: {request.queue_name}"
    document: dict[str, object] = {
        "Message_Type": request.type,
        "Message": message,
        "URL-Signature": request.signature,
        "URL-Methods": "PUT",
        "URL-Paths": request.path,
        "X-Project-ID": request.project,
        "URL-Expires": request.expires,
        "SubscribeBody": {"confirmed": True},
        "UnsubscribeBody": {"confirmed": False},
        "queue_name": request.queue_name,
    }
    if request.public_url is not None:
        document["WSGISubscribeURL"] = request.public_url + request.path
    return document


def _prepared(subscription: Subscription, policy: EgressPolicy) -> Prepared:
    subscriber, options = subscription.subscriber, subscription.options
    try:
        url = judge_url(subscriber, policy)
    except InvalidInput as error:
        return Prepared(subscriber, options, UNKNOWN, refusal=error.description)
    try:
        webhook = parse_webhook_options(options)
    except InvalidInput as error:
        return Prepared(subscriber, options, url.endpoint, refusal=error.description)
    form = CLOUDEVENTS_JSON if webhook.format == "cloudevents" else JSON
    described = {"Accept": "*/*", "User-Agent": USER_AGENT, "Content-Type": form}
    own = dict(webhook.headers)
    way = Way(
        url=url,
        origin=Origin(url.host, url.port, url.tls),
        webhook=webhook,
        described=described,
        own=own,
        head=head(url, described, own),
    )
    return Prepared(subscriber, options, url.endpoint, way)
