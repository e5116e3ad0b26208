"""The shapes of bodies about what was, or is to be, delivered to a subscriber."""

from nuska.core.deliveries import LONGEST_SINCE
from nuska.transport.http.schemas.shapes import (
    COUNT,
    FLAG,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
    whole,
)
from nuska.transport.http.schemas.subscriptions import disabled, waiting


def delivery_schemas() -> dict[str, Schema]:
    attempt = an_object(
        ("message_id", "attempt", "at", "ok", "status", "error", "latency_ms", "next_at"),
        message_id=or_null(TEXT),
        letter=TEXT,
        attempt=COUNT,
        at=TEXT,
        ok=FLAG,
        status=or_null(COUNT),
        error=or_null(TEXT),
        latency_ms=COUNT,
        next_at=or_null(TEXT),
    )
    trouble = an_object(
        ("since", "error", "failures", "next_at"),
        since=TEXT,
        error=TEXT,
        failures=COUNT,
        next_at=TEXT,
    )
    return {
        "AttemptList": an_object(
            ("attempts", "trouble", "links"),
            attempts=an_array(attempt),
            trouble=or_null(trouble),
            waiting=waiting(),
            links=ref("Links"),
        ),
        "Standing": _standing(trouble),
        "Trial": an_object(("message_id",), message_id=TEXT),
        "Replay": an_object(("since",), since=whole(0, LONGEST_SINCE)),
    }


def _standing(trouble: Schema) -> Schema:
    fields: dict[str, Schema] = {
        "state": {"enum": ["active", "trouble", "waiting", "disabled"]},
        "since": TEXT,
        "attempts": COUNT,
        "succeeded": COUNT,
        "success_rate": or_null({"type": "number", "minimum": 0, "maximum": 1}),
        "complete": FLAG,
        "last_success": or_null(TEXT),
        "last_failure": or_null(TEXT),
        "breaker": {"enum": ["closed", "open"]},
        "trouble": or_null(trouble),
        "disabled": or_null(disabled()),
        "waiting": or_null(waiting()),
    }
    return an_object(tuple(fields), **fields)
