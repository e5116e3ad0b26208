"""Subscribers reached by HTTP: one POST for each message.

Makes one attempt and says what came of it. What is sent is put into words in ``domain``;
whether and when to try again is decided by whoever asked.
"""

import asyncio
import json
import logging
from collections import OrderedDict

import aiohttp
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from nuska import __version__
from nuska.delivery.senders.connections import AddressRefused
from nuska.delivery.senders.outcomes import answered, failed, refused
from nuska.domain.egress import EgressPolicy, judge_url
from nuska.domain.errors import InvalidInput
from nuska.domain.internal import origin
from nuska.domain.messages import Message
from nuska.domain.moments import Duration
from nuska.domain.subscriptions import Options, Subscription
from nuska.domain.templates import event_attributes, filled, payload, structured_event
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
MAX_ANSWER = 65_536
"""Bytes of an answer's body that are read, so that the connection can be used again."""
ANSWER_PATIENCE = 1.0
"""Seconds for which they are waited for: what was decided stands in the head."""
PREPARED_KEPT = 2048
"""Subscriptions whose options are not parsed again for the next message."""

log = logging.getLogger("nuska.delivery")


class Prepared(Struct, frozen=True, gc=False):
    """What a subscription's text and options come to."""

    subscriber: str
    options: Options
    endpoint: str
    url: URL | None = None
    headers: CIMultiDict[str] | None = None
    webhook: WebhookOptions | None = None
    refusal: str = ""
    """Why it cannot be called; empty when it can."""


class WebhookSender:
    """Implements ``Sender`` for ``http``, ``https``, and, given a token, for ``trust+``."""

    def __init__(
        self, session: aiohttp.ClientSession, policy: EgressPolicy, clock: Clock, *, total: float
    ) -> None:
        """``session``: from ``guarded_session``. ``total``: seconds that an attempt may take."""
        self._session = session
        self._policy = policy
        self._clock = clock
        self._total = total
        self._prepared: OrderedDict[str, Prepared] = OrderedDict()

    async def send(self, notification: Notification) -> Outcome:
        return await self.send_as(notification, {})

    async def send_as(self, notification: Notification, more: dict[str, str]) -> Outcome:
        """``send`` with more headers, below those that the subscription names."""
        prepared = self._prepare(notification.subscription)
        if prepared.webhook is None or prepared.headers is None:
            return refused(prepared.refusal)
        headers = prepared.headers.copy()
        for name, value in more.items():
            headers.setdefault(name, value)
        try:
            body = _written(notification, prepared.webhook, headers)
        except InvalidInput as error:
            return refused(error.description)
        event = f"msg_{notification.subscription.id}_{notification.message.id}"
        return await self._post(prepared, event, headers, body)

    async def ask(self, subscription: Subscription, request: ConfirmationRequest) -> Outcome:
        return await self.ask_as(subscription, request, {})

    async def ask_as(
        self, subscription: Subscription, request: ConfirmationRequest, more: dict[str, str]
    ) -> Outcome:
        """``ask`` with more headers."""
        prepared = self._prepare(subscription)
        if prepared.headers is None:
            return refused(prepared.refusal)
        headers = prepared.headers.copy()
        for name, value in more.items():
            headers.setdefault(name, value)
        headers.setdefault("Content-Type", JSON)
        event = f"ask_{subscription.id}_{request.signature[:32]}"
        body = json.dumps(confirmation(request)).encode()
        return await self._post(prepared, event, headers, body)

    def endpoint(self, subscription: Subscription) -> str:
        return self._prepare(subscription).endpoint

    async def close(self) -> None:
        await self._session.close()

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

    async def _post(
        self, prepared: Prepared, event: str, headers: CIMultiDict[str], body: bytes
    ) -> Outcome:
        url, webhook = prepared.url, prepared.webhook
        if url is None or webhook is None:
            return refused(prepared.refusal)
        if webhook.secrets:
            moment = self._clock.now() // 1000
            headers[ID_HEADER] = event
            headers[TIMESTAMP_HEADER] = str(moment)
            headers[SIGNATURE_HEADER] = signature(webhook.secrets, event, moment, body)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                latency = Duration(round((loop.time() - started) * 1000))
                outcome = answered(
                    answer.status, answer.headers.get("Retry-After"), latency, self._clock.now()
                )
                if not answer.content.is_eof():
                    await _read_some(answer)
                return outcome
        except Exception as error:
            latency = Duration(round((loop.time() - started) * 1000))
            return failed(self._in_words(error), latency)

    def _in_words(self, error: Exception) -> str:
        """What went wrong, without anything that the error's own text may repeat."""
        inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        match error:
            case _ if isinstance(inner, AddressRefused):
                return str(inner)
            case aiohttp.ConnectionTimeoutError():
                return "No connection to the subscriber was made in time."
            case TimeoutError():
                return f"The subscriber did not answer within {self._total:g} seconds."
            case aiohttp.ClientConnectorDNSError():
                return "The subscriber's name could not be resolved."
            case aiohttp.ClientConnectorCertificateError():
                return "The subscriber's TLS certificate is not valid for its name."
            case aiohttp.ClientSSLError():
                return "TLS with the subscriber failed."
            case aiohttp.ClientConnectorError() if isinstance(inner, ConnectionRefusedError):
                return "The subscriber refuses connections."
            case aiohttp.ClientConnectorError():
                return "No connection to the subscriber could be made."
            case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
                return "The subscriber closed the connection before it had answered."
            case aiohttp.ClientResponseError() | aiohttp.ClientPayloadError():
                return "The subscriber's answer is not HTTP."
            case _:
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
        judged = judge_url(subscriber, policy)
    except InvalidInput as error:
        return Prepared(subscriber, options, UNKNOWN, refusal=error.description)
    try:
        webhook = parse_webhook_options(options)
    except InvalidInput as error:
        return Prepared(subscriber, options, judged.endpoint, refusal=error.description)
    headers: CIMultiDict[str] = CIMultiDict({"User-Agent": USER_AGENT})
    for name, value in webhook.headers:
        headers[name] = value
    url = URL(judged.url, encoded=True)
    return Prepared(subscriber, options, judged.endpoint, url, headers, webhook)


def _written(
    notification: Notification, webhook: WebhookOptions, headers: CIMultiDict[str]
) -> bytes:
    """The body; ``headers`` get what describes it, unless the subscription says otherwise."""
    message, name = notification.message, notification.name
    if webhook.format == "cloudevents":
        headers.setdefault("Content-Type", CLOUDEVENTS_JSON)
        return structured_event(message, name, _kind(notification)).encode()
    headers.setdefault("Content-Type", JSON)
    if webhook.format == "cloudevents-binary":
        return _binary_event(message, name, _kind(notification), headers)
    document = payload(message, name)
    return (document if webhook.data is None else filled(webhook.data, document)).encode()


def _binary_event(message: Message, name: str, kind: str, headers: CIMultiDict[str]) -> bytes:
    for key, value in event_attributes(message, name, kind).items():
        if key != "datacontenttype":  # that is the content type
            headers[f"ce-{key}"] = value
    return message.body


def _kind(notification: Notification) -> str:
    queue = notification.subscription.queue
    return "queues" if origin(queue, "topics") is None else "topics"


async def _read_some(answer: aiohttp.ClientResponse) -> None:
    """Read the rest if there is little of it; else the connection is given up."""
    left = MAX_ANSWER
    try:
        async with asyncio.timeout(ANSWER_PATIENCE):
            while left > 0 and (piece := await answer.content.read(left)):
                left -= len(piece)
    except (TimeoutError, aiohttp.ClientError, OSError):
        pass  # what it answered is known
