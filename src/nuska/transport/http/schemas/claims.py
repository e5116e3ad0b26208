"""The shapes of bodies about claims."""

from nuska.domain.limits import MIN_CLAIM_GRACE, MIN_CLAIM_TTL, Limits
from nuska.transport.http.schemas.shapes import (
    COUNT,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
    whole,
)


def claim_schemas(limits: Limits) -> dict[str, Schema]:
    return {
        "ClaimTerms": an_object(
            ttl=or_null(whole(MIN_CLAIM_TTL, limits.max_claim_ttl)),
            grace=or_null(whole(MIN_CLAIM_GRACE, limits.max_claim_grace)),
        ),
        "Claimed": an_object(("messages",), messages=an_array(ref("Message"))),
        "Claim": an_object(
            ("age", "ttl", "href", "messages"),
            age=COUNT,
            ttl=COUNT,
            href=TEXT,
            messages=an_array(ref("Message")),
        ),
    }
