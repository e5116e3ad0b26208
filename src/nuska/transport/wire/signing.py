"""The request for a pre-signed URL on the wire (contract signed-urls §2, §4)."""

from datetime import UTC, datetime

from msgspec import Struct

from nuska.domain.errors import InvalidBody, InvalidInput
from nuska.domain.moments import Moment
from nuska.transport.wire.json import decode_object

SHAREABLE = ("messages", "claims", "subscriptions")
DEFAULT_PATHS = ("messages",)
DEFAULT_METHODS = ("GET",)
DEFAULT_LIFETIME = 86_400_000
"""Milliseconds: 24 hours."""
_KEYS = frozenset(("paths", "methods", "expires"))


class ShareTerms(Struct, frozen=True):
    """What is to be signed."""

    paths: tuple[str, ...]
    methods: tuple[str, ...]
    expires_at: Moment


def decode_share(data: bytes, now: Moment) -> ShareTerms:
    """The terms in a share's body, which is required but may be ``{}``."""
    if not data:
        raise InvalidBody("The request body can not be empty; {} stands for the defaults.")
    document = decode_object(data)
    unknown = sorted(document.keys() - _KEYS)
    if unknown:
        raise InvalidInput(f"A share has no {unknown[0]!r}; it has paths, methods and expires.")
    paths = _texts(document, "paths") or DEFAULT_PATHS
    for path in paths:
        if path not in SHAREABLE:
            raise InvalidInput(f"The value of paths may hold {', '.join(SHAREABLE)} only.")
    methods = _texts(document, "methods") or DEFAULT_METHODS
    expires = document.get("expires")
    expires_at = Moment(now + DEFAULT_LIFETIME) if expires is None else _moment(expires)
    if expires_at <= now:
        raise InvalidInput("The value of expires must be in the future.")
    return ShareTerms(paths, methods, expires_at)


def _texts(document: dict[str, object], key: str) -> tuple[str, ...]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidInput(f"The value of {key} must be an array of texts.")
    return tuple(value)


def _moment(expires: object) -> Moment:
    """An ISO-8601 date and time, in UTC unless it names a zone; whole seconds."""
    if not isinstance(expires, str) or expires.strip().lstrip("+-").isdigit():
        raise InvalidInput(
            "The value of expires should be date format, such as 2031-03-04T05:06:07."
        )
    try:
        moment = datetime.fromisoformat(expires)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return Moment(int(moment.timestamp()) * 1000)
    except (ValueError, OverflowError):
        raise InvalidInput(
            "The value of expires should be date format, such as 2031-03-04T05:06:07."
        ) from None
