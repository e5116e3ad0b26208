"""Quotas on the wire. Zaqar has no route for them."""

from msgspec import UNSET

from nuska.core.quota_service import ShownQuota
from nuska.domain.errors import InvalidBody, InvalidInput
from nuska.domain.quotas import MAX_QUOTA, NAMES, Override, least
from nuska.transport.wire.json import decode_object, encode


def decode_override(data: bytes) -> Override:
    """Limits by their names; null for none."""
    document = decode_object(data)
    for name, limit in document.items():
        if name not in NAMES:
            raise InvalidBody(f"There is no quota {name!r}. There are: {', '.join(NAMES)}.")
        if limit is None:
            continue
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise InvalidBody(f"The value of {name} must be an integer, or null for no limit.")
        if not least(name) <= limit <= MAX_QUOTA:
            raise InvalidInput(
                f"The value of {name} must be from {least(name)} to {MAX_QUOTA}, not {limit}."
            )
    return Override(**{name: document.get(name, UNSET) for name in NAMES})  # type: ignore[arg-type]


def encode_quota(shown: ShownQuota) -> bytes:
    return encode(
        {
            "project": shown.project,
            "limits": {name: getattr(shown.limits, name) for name in NAMES},
            "overrides": shown.override.said,
            "use": shown.use,
        }
    )
