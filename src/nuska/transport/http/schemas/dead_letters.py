"""The shapes of bodies about dead letters."""

from nuska.core.redriving import MAX_DEAD_LETTERS
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


def dead_letter_schemas() -> dict[str, Schema]:
    letter = an_object(
        ("id", "kind", "message_id", "reason", "count", "at", "body"),
        id=TEXT,
        kind={"enum": ["message", "delivery"]},
        message_id=TEXT,
        reason=TEXT,
        count=COUNT,
        at=TEXT,
        subscription_id=TEXT,
        subscriber=TEXT,
        body={},
        attributes={"type": "object"},
    )
    ids = {**an_array(TEXT), "minItems": 1, "maxItems": MAX_DEAD_LETTERS}
    return {
        "DeadLetterList": an_object(
            ("dead_letters", "links"), dead_letters=an_array(letter), links=ref("Links")
        ),
        "Redrive": {
            **an_object(
                ids=or_null(ids),
                reason=or_null(TEXT),
                limit=or_null({"type": "integer", "minimum": 1, "maximum": MAX_DEAD_LETTERS}),
                marker=or_null(TEXT),
                dry_run=FLAG,
            ),
            "additionalProperties": False,
        },
        "Redriven": an_object(
            ("ids", "skipped", "marker", "complete"),
            ids=an_array(TEXT),
            skipped=COUNT,
            marker=TEXT,
            complete=FLAG,
        ),
    }
