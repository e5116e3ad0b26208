"""The shapes of bodies about pre-signed URLs as JSON Schema; ``schemas.py`` has the others."""

from nuska.core.sharing import MAX_NETWORKS, MAX_NOTE, MAX_USES
from nuska.domain.limits import MAX_MESSAGES_PER_POST, Limits
from nuska.transport.wire.signing import SHAREABLE

Schema = dict[str, object]

_TEXT: Schema = {"type": "string"}
_TEXTS: Schema = {"type": "array", "items": _TEXT}
_MOMENT: Schema = {**_TEXT, "description": "In UTC, whole seconds, without a zone."}


def sharing_schemas(limits: Limits) -> dict[str, Schema]:
    asked: Schema = {
        "paths": {"type": "array", "items": {"enum": list(SHAREABLE)}},
        "methods": _TEXTS,
        "expires": {"type": "string", "format": "date-time"},
    }
    narrowing: Schema = {
        "note": {"type": "string", "maxLength": MAX_NOTE},
        "max_body": _up_to(limits.max_messages_post_size, "Bytes of one post."),
        "max_batch": _up_to(MAX_MESSAGES_PER_POST, "Messages in one post."),
        "uses": _up_to(MAX_USES, "Requests that are let in, all in all."),
        "networks": {**_TEXTS, "maxItems": MAX_NETWORKS},
    }
    shown: Schema = {"paths": _TEXTS, "methods": _TEXTS, "expires": _MOMENT}
    grant: Schema = {
        "id": _TEXT,
        "queue_name": _TEXT,
        **shown,
        "created": _TEXT,
        **narrowing,
        "used": {"type": "integer", "minimum": 0},
    }
    signed: Schema = {"project": _TEXT, "signature": _TEXT}
    links: Schema = {"$ref": "#/components/schemas/Links"}
    listed: Schema = {"type": "array", "items": {"$ref": "#/components/schemas/Grant"}}
    return {
        "Share": {**_object(asked, ()), "additionalProperties": False},
        "Shared": _object({**shown, **signed}),
        "NewGrant": {**_object({**asked, **narrowing}, ()), "additionalProperties": False},
        "Grant": _object(grant),
        "Granted": _object({**grant, **signed, "urls": _TEXTS}),
        "GrantList": _object({"grants": listed, "links": links}),
    }


def _object(properties: Schema, required: tuple[str, ...] | None = None) -> Schema:
    """``required`` None: every one of the properties is."""
    names = list(properties) if required is None else list(required)
    schema: Schema = {"type": "object", "properties": properties}
    return {**schema, "required": names} if names else schema


def _up_to(highest: int, description: str) -> Schema:
    return {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": highest}, {"type": "null"}],
        "description": description,
    }
