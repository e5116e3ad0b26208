"""The shapes of bodies about pre-signed URLs."""

from nuska.core.sharing import MAX_NETWORKS, MAX_NOTE, MAX_USES
from nuska.domain.limits import MAX_MESSAGES_PER_POST, Limits
from nuska.transport.http.schemas.shapes import COUNT, TEXT, Schema, an_array, ref
from nuska.transport.wire.signing import SHAREABLE

_TEXTS = an_array(TEXT)
_MOMENT: Schema = {**TEXT, "description": "In UTC, whole seconds, without a zone."}


def grant_schemas(limits: Limits) -> dict[str, Schema]:
    asked: Schema = {
        "paths": an_array({"enum": list(SHAREABLE)}),
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
        "id": TEXT,
        "queue_name": TEXT,
        **shown,
        "created": TEXT,
        **narrowing,
        "used": COUNT,
    }
    signed: Schema = {"project": TEXT, "signature": TEXT}
    return {
        "Share": {**_object(asked, ()), "additionalProperties": False},
        "Shared": _object({**shown, **signed}),
        "NewGrant": {**_object({**asked, **narrowing}, ()), "additionalProperties": False},
        "Grant": _object(grant),
        "Granted": _object({**grant, **signed, "urls": _TEXTS}),
        "GrantList": _object({"grants": an_array(ref("Grant")), "links": ref("Links")}),
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
