"""Subscriptions on the wire (contract http-v2 §5)."""

from collections.abc import Callable, Sequence

from msgspec import UNSET

from nuska.core.subscription_making import SubscriptionDraft
from nuska.core.subscriptions import SubscriptionChange
from nuska.domain.errors import InvalidBody
from nuska.domain.moments import Moment, age_in_seconds, iso, whole_seconds
from nuska.domain.subscriptions import Disabled, Options, Subscription, Waiting
from nuska.domain.webhooks import without_secrets
from nuska.transport.wire.json import decode_object, encode

WaitingOf = Callable[[Subscription], Waiting | None]
"""What keeps a subscriber from being told."""


def decode_draft(data: bytes) -> SubscriptionDraft:
    """A new subscription; ``options`` may be null (K15), a ttl may not."""
    document = _document(data)
    if "subscriber" not in document:
        raise InvalidBody('The request body has no "subscriber".')
    return SubscriptionDraft(
        subscriber=_subscriber(document),
        ttl=_ttl(document) if "ttl" in document else None,
        options=None if document.get("options") is None else _options(document),
    )


def decode_change(data: bytes) -> SubscriptionChange:
    """Any of a subscription's fields; other keys are passed over. Options are replaced whole."""
    document = _document(data)
    return SubscriptionChange(
        subscriber=_subscriber(document) if "subscriber" in document else UNSET,
        ttl=_ttl(document) if "ttl" in document else UNSET,
        options=_options(document) if "options" in document else UNSET,
    )


def decode_answer(data: bytes) -> bool:
    """Whether a subscriber confirms: ``{"confirmed": true}`` or false, and nothing like it."""
    confirmed = _document(data).get("confirmed")
    if not isinstance(confirmed, bool):
        raise InvalidBody('The request body must have "confirmed", true or false.')
    return confirmed


def encode_created(subscription: Subscription) -> bytes:
    return encode({"subscription_id": subscription.id})


def encode_subscription(subscription: Subscription, waiting: WaitingOf, now: Moment) -> bytes:
    return encode(shown_as(subscription, waiting, now))


def encode_subscriptions(
    subscriptions: Sequence[Subscription], links: bytes, waiting: WaitingOf, now: Moment
) -> bytes:
    items = [shown_as(subscription, waiting, now) for subscription in subscriptions]
    return b'{"subscriptions": ' + encode(items) + b", " + links + b"}"


def waiting_in_words(waiting: Waiting) -> dict[str, object]:
    """What a subscriber waits for who is told nothing yet."""
    shown: dict[str, object] = {"for": "confirmation"}
    if waiting.problem is not None:
        shown["problem"] = waiting.problem
    return shown


def disabled_in_words(disabled: Disabled) -> dict[str, object]:
    return {"reason": disabled.reason, "at": iso(disabled.at)}


def shown_as(subscription: Subscription, waiting: WaitingOf, now: Moment) -> dict[str, object]:
    shown: dict[str, object] = {
        "id": subscription.id,
        "source": subscription.queue.name,
        "subscriber": subscription.subscriber,
        "ttl": whole_seconds(subscription.ttl),
        "age": age_in_seconds(subscription.restarted_at, now),
        "options": without_secrets(subscription.options),
        "confirmed": subscription.confirmed,
    }
    if subscription.disabled is not None:
        shown["disabled"] = disabled_in_words(subscription.disabled)
    waits = waiting(subscription)
    if waits is not None:
        shown["waiting"] = waiting_in_words(waits)
    return shown


def _document(data: bytes) -> dict[str, object]:
    if not data:
        raise InvalidBody("The request body can not be empty.")
    return decode_object(data)


def _subscriber(document: dict[str, object]) -> str:
    subscriber = document["subscriber"]
    if not isinstance(subscriber, str):
        raise InvalidBody("The value of subscriber must be text.")
    return subscriber


def _ttl(document: dict[str, object]) -> int:
    ttl = document["ttl"]
    if not isinstance(ttl, int):
        raise InvalidBody("The value of ttl must be an integer.")
    return int(ttl)


def _options(document: dict[str, object]) -> Options:
    options = document["options"]
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise InvalidBody("The value of options must be a JSON object.")
    return options
