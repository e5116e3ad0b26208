"""The shapes of bodies about subscriptions."""

from nuska.domain.limits import MAX_SUBSCRIBER, MIN_SUBSCRIPTION_TTL
from nuska.transport.http.schemas.policies import retry_policy
from nuska.transport.http.schemas.shapes import (
    COUNT,
    FLAG,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
)


def subscription_schemas() -> dict[str, Schema]:
    subscriber: Schema = {
        "type": "string",
        "maxLength": MAX_SUBSCRIBER,
        "pattern": "^[A-Za-z+]+:.+$",
        "description": "A URL of a kind that this server has senders for.",
    }
    ttl = {"type": "integer", "minimum": MIN_SUBSCRIPTION_TTL, "maximum": 2**63 - 1}
    options = {
        **an_object(
            _retry_policy=or_null(retry_policy()),
            post_data=or_null(TEXT),
            post_headers=or_null({"type": "object", "additionalProperties": TEXT}),
            subject=or_null(TEXT),
            trust_id=or_null(TEXT),
            **{"from": or_null(TEXT)},
        ),
        "additionalProperties": ref("Json"),
    }
    shown = an_object(
        ("id", "source", "subscriber", "ttl", "age", "options", "confirmed"),
        id=TEXT,
        source=TEXT,
        subscriber=TEXT,
        ttl=COUNT,
        age=COUNT,
        options={"type": "object"},
        confirmed=FLAG,
        disabled=disabled(),
        waiting=waiting(),
    )
    return {
        "NewSubscription": an_object(
            ("subscriber",), subscriber=subscriber, ttl=ttl, options=or_null(options)
        ),
        "SubscriptionCreated": an_object(("subscription_id",), subscription_id=TEXT),
        "SubscriptionChange": {
            **an_object(subscriber=subscriber, ttl=ttl, options=or_null(options)),
            "description": "At least one of these; other keys are passed over.",
        },
        "Subscription": shown,
        "SubscriptionList": an_object(
            ("subscriptions", "links"),
            subscriptions=an_array(ref("Subscription")),
            links=ref("Links"),
        ),
        "Confirmed": an_object(("confirmed",), confirmed=FLAG),
    }


def disabled() -> Schema:
    return an_object(("reason", "at"), reason=TEXT, at=TEXT)


def waiting() -> Schema:
    return an_object(("for",), problem=TEXT, **{"for": {"enum": ["confirmation"]}})
