"""The rows about claims."""

from nuska.transport.http import claims
from nuska.transport.http.table.rows import (
    ATTRIBUTES,
    QUEUE_PATH,
    WAIT,
    Admits,
    Operation,
    Route,
    limit,
    per_claim_or_pop,
)

_CLAIMS = f"{QUEUE_PATH}/claims"

CLAIMS = Route(
    _CLAIMS,
    (
        Operation(
            method="POST",
            handler=claims.post_claim,
            name="createClaim",
            summary="Claim the oldest free messages.",
            action="claims:create",
            query=(limit(per_claim_or_pop), WAIT, ATTRIBUTES),
            body="ClaimTerms",
            answers={201: "Claimed", 204: None},
            relation="rel/post_claim",
            relation_query="limit",
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)

CLAIM = Route(
    f"{_CLAIMS}/{{claim_id}}",
    (
        Operation(
            method="GET",
            handler=claims.get_claim,
            name="getClaim",
            summary="A live claim and its messages.",
            action="claims:get",
            query=(ATTRIBUTES,),
            answers={200: "Claim"},
            refusals=(404,),
            relation="rel/claim",
        ),
        Operation(
            method="PATCH",
            handler=claims.patch_claim,
            name="renewClaim",
            summary="Start a live claim anew.",
            action="claims:update",
            body="ClaimTerms",
            body_required=True,
            answers={204: None},
            refusals=(404,),
            relation="rel/patch_claim",
        ),
        Operation(
            method="DELETE",
            handler=claims.delete_claim,
            name="releaseClaim",
            summary="End a claim; its messages are free at once.",
            action="claims:delete",
            answers={204: None},
            relation="rel/delete_claim",
        ),
    ),
    Admits.CALLERS_OR_SIGNED,
)
