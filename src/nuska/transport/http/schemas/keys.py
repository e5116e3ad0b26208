"""The shapes of bodies about API keys."""

from nuska.core.keys import MIN_TTL
from nuska.domain.keys import MAX_ACTIONS, MAX_NAME, MAX_QUEUES, MAX_ROLES
from nuska.transport.http.schemas.shapes import (
    FLAG,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
)


def key_schemas() -> dict[str, Schema]:
    names = or_null(an_array(TEXT))
    shown: dict[str, object] = {
        "id": TEXT,
        "name": TEXT,
        "roles": an_array(TEXT),
        "queues": names,
        "topics": names,
        "actions": names,
        "created": TEXT,
        "created_by": TEXT,
        "expires": or_null(TEXT),
        "expired": FLAG,
    }
    known = an_object((*shown, "last_used"), **shown, last_used=or_null(TEXT))

    def some(highest: int) -> Schema:
        return or_null({**an_array(TEXT), "minItems": 1, "maxItems": highest})

    return {
        "Key": known,
        "KeyList": an_object(("keys", "links"), keys=an_array(ref("Key")), links=ref("Links")),
        "MadeKey": an_object((*shown, "key"), **shown, key=TEXT),
        "NewKey": {
            **an_object(
                name=or_null({"type": "string", "maxLength": MAX_NAME}),
                roles=some(MAX_ROLES),
                queues=some(MAX_QUEUES),
                topics=some(MAX_QUEUES),
                actions=some(MAX_ACTIONS),
                ttl=or_null({"type": "integer", "minimum": MIN_TTL}),
            ),
            "additionalProperties": False,
        },
    }
