"""Claims on the wire."""

from collections.abc import Sequence

from nuska.core.claims import ClaimTerms, Taken
from nuska.domain.claims import Claim
from nuska.domain.errors import InvalidBody
from nuska.domain.moments import Moment, age_in_seconds
from nuska.transport.wire.json import decode_object
from nuska.transport.wire.messages import (
    PLAIN,
    Shown,
    encode_bare_messages,
    encode_messages,
)

_DEFAULTS = ClaimTerms()


def decode_terms(data: bytes, *, limit: int | None = None, highest: int = 0) -> ClaimTerms:
    """``ttl`` and ``grace`` of a claim; null means the default (K11), other keys nothing.

    ``limit`` is the one of the query; without it one of the body counts, if it is from 1 to
    ``highest`` (K5: Zaqar ignores it there, so nothing it holds may be an error).
    """
    if not data:
        return _DEFAULTS if limit is None else ClaimTerms(limit=limit)
    document = decode_object(data)
    if limit is None:
        asked = document.get("limit")
        limit = asked if type(asked) is int and 0 < asked <= highest else None
    return ClaimTerms(_integer(document, "ttl"), _integer(document, "grace"), limit)


def decode_renewal(data: bytes) -> ClaimTerms:
    """As ``decode_terms``, but a body there must be."""
    if not data:
        raise InvalidBody("The request body can not be empty; {} stands for the defaults.")
    return decode_terms(data)


def encode_taken(taken: Taken, base: str, now: Moment, shown: Shown = PLAIN) -> bytes:
    return b'{"messages": [' + encode_messages(taken.messages, base, now, shown) + b"]}"


def encode_claim(claim: Claim, base: str, now: Moment, shown: Shown = PLAIN) -> bytes:
    head = (
        f'{{"age": {age_in_seconds(claim.started_at, now)}, "ttl": {claim.ttl // 1000}, '
        f'"href": "{location_of(base, claim.id)}", "messages": ['
    )
    return head.encode() + encode_messages(claim.messages, base, now, shown) + b"]}"


def encode_bare_taken(taken: Taken, now: Moment, shown: Shown = PLAIN) -> bytes:
    """A new claim for readers who have no addresses."""
    head = f'{{"claim_id": "{taken.id}", "messages": ['.encode()
    return head + encode_bare_messages(taken.messages, now, shown, claimed=True) + b"]}"


def encode_bare_together(together: Sequence[Taken], now: Moment, shown: Shown = PLAIN) -> bytes:
    """New claims that were asked for together."""
    claims = b", ".join([encode_bare_taken(taken, now, shown) for taken in together])
    return b'{"claims": [' + claims + b"]}"


def encode_bare_claim(claim: Claim, now: Moment, shown: Shown = PLAIN) -> bytes:
    head = (
        f'{{"age": {age_in_seconds(claim.started_at, now)}, "ttl": {claim.ttl // 1000}, '
        f'"messages": ['
    )
    shown_messages = encode_bare_messages(claim.messages, now, shown, claimed=True)
    return head.encode() + shown_messages + b"]}"


def location_of(base: str, claim_id: str) -> str:
    return f"{base}/claims/{claim_id}"


def _integer(document: dict[str, object], field: str) -> int | None:
    value = document.get(field)
    if value is None or isinstance(value, int):
        return value
    raise InvalidBody(f"The value of {field} must be an integer.")
