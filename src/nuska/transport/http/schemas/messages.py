"""The shapes of bodies about messages."""

from nuska.domain.limits import MIN_MESSAGE_TTL, Limits
from nuska.transport.http.schemas.shapes import COUNT, TEXT, Schema, an_array, an_object, ref, whole


def message_schemas(limits: Limits) -> dict[str, Schema]:
    extras: dict[str, object] = {
        "checksum": TEXT,
        "attributes": {"type": "object"},
        "dead_letter": an_object(
            ("origin", "reason", "claim_count", "at"),
            origin=TEXT,
            reason=TEXT,
            claim_count=COUNT,
            at=TEXT,
        ),
    }
    shared: dict[str, object] = {"id": TEXT, "ttl": COUNT, "age": COUNT, "body": {}, **extras}
    posted = an_object(
        ("body",),
        body=ref("Json"),
        ttl=whole(MIN_MESSAGE_TTL, limits.max_message_ttl),
        # Anything passes on queues without a delay of their own.
        delay={
            **ref("Json"),
            "description": f"On delay queues seconds, 0 to {limits.max_message_delay}.",
        },
        attributes={"type": "object", "additionalProperties": ref("Json")},
    )
    posted["additionalProperties"] = ref("Json")
    popped = an_object(
        ("id", "age", "ttl", "body", "claim_id", "claim_count"),
        claim_id={"type": "null"},
        claim_count=COUNT,
        **shared,
    )
    delayed = {"description": "Seconds until it is due; shown with attributes.", **COUNT}
    return {
        "Post": an_object(("messages",), messages={**an_array(posted), "minItems": 1}),
        "Posted": an_object(("resources",), resources=an_array(TEXT)),
        "Message": an_object(
            ("id", "href", "ttl", "age", "body"), href=TEXT, delay=delayed, **shared
        ),
        "MessageList": an_object(
            ("messages",), messages=an_array(ref("Message")), links=ref("Links")
        ),
        "Popped": an_object(("messages",), messages=an_array(popped)),
        "EventStream": {
            "type": "string",
            "description": "Server-sent events. Of the type message: id is a marker, data a JSON "
            "object with id, queue, ttl, age and body. Of the type gap: some messages are "
            "missing. Of the type notice: why the stream ends.",
        },
    }
