"""API keys on the wire. Zaqar has no route for them."""

from collections.abc import Sequence

from nuska.core.keys import KeyDraft, MadeKey, ShownKey
from nuska.domain.errors import InvalidBody
from nuska.domain.keys import Key
from nuska.domain.moments import Moment, iso
from nuska.transport.wire.json import decode_object, encode

_KEYS = frozenset(("name", "roles", "queues", "topics", "actions", "ttl"))


def decode_draft(data: bytes) -> KeyDraft:
    """A new key; an empty body means one that may do what a member may."""
    document = decode_object(data) if data else {}
    unknown = sorted(document.keys() - _KEYS)
    if unknown:
        raise InvalidBody(f"A key has no {unknown[0]!r}.")
    name, ttl = document.get("name"), document.get("ttl")
    if name is not None and not isinstance(name, str):
        raise InvalidBody("The value of name must be text.")
    if ttl is not None and (not isinstance(ttl, int) or isinstance(ttl, bool)):
        raise InvalidBody("The value of ttl must be an integer.")
    roles = _texts(document, "roles")
    draft = KeyDraft(
        name=name or "",
        queues=_texts(document, "queues"),
        topics=_texts(document, "topics"),
        actions=_texts(document, "actions"),
        ttl=ttl,
    )
    return draft if roles is None else draft.with_roles(roles)


def encode_made(made: MadeKey, now: Moment) -> bytes:
    """The one answer that has the secret in it."""
    return encode({**_shown(made.key, now), "key": made.secret})


def encode_key(shown: ShownKey, now: Moment) -> bytes:
    return encode(_with_use(shown, now))


def encode_keys(page: Sequence[ShownKey], links: bytes, now: Moment) -> bytes:
    return b'{"keys": ' + encode([_with_use(shown, now) for shown in page]) + b", " + links + b"}"


def _with_use(shown: ShownKey, now: Moment) -> dict[str, object]:
    used = None if shown.used_at is None else iso(shown.used_at)
    return {**_shown(shown.key, now), "last_used": used}


def _shown(key: Key, now: Moment) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "roles": sorted(key.roles),
        "queues": _listed(key.queues),
        "topics": _listed(key.topics),
        "actions": _listed(key.actions),
        "created": iso(key.created_at),
        "created_by": key.created_by,
        "expires": None if key.expires_at is None else iso(key.expires_at),
        "expired": key.expires_at is not None and key.expires_at <= now,
    }


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _texts(document: dict[str, object], key: str) -> tuple[str, ...] | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidBody(f"The value of {key} must be an array of texts.")
    return tuple(value)
