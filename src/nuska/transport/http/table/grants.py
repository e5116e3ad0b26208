"""The rows about pre-signed URLs. Those about kept ones are additions to Zaqar's API."""

from nuska.core.sharing import MAX_GRANTS_PER_PAGE
from nuska.transport.http import grants
from nuska.transport.http.table.rows import MARKER, QUEUE_PATH, Operation, Route, limit

_GRANTS = f"{QUEUE_PATH}/grants"
_PAGE = (MARKER, limit(lambda _: MAX_GRANTS_PER_PAGE))

SHARE = Route(
    f"{QUEUE_PATH}/share",
    (
        Operation(
            method="POST",
            handler=grants.share_queue,
            name="shareQueue",
            summary="Sign for whoever is to call some paths of the queue without credentials.",
            action="queues:share",
            body="Share",
            body_required=True,
            answers={200: "Shared"},
            relation="rel/queue_share",
        ),
    ),
)

GRANTS_OF_QUEUE = Route(
    _GRANTS,
    (
        Operation(
            method="POST",
            handler=grants.post_grant,
            name="createGrant",
            summary="As share, and keep it: it can be narrowed, listed and revoked.",
            action="queues:share",
            body="NewGrant",
            body_required=True,
            answers={201: "Granted"},
            refusals=(409,),
        ),
        Operation(
            method="GET",
            handler=grants.list_grants,
            name="listGrantsOfQueue",
            summary="The kept URLs of a queue that are still good, without their signatures.",
            action="queues:share",
            query=_PAGE,
            answers={200: "GrantList"},
        ),
    ),
    adds=True,
)

GRANT = Route(
    f"{_GRANTS}/{{grant_id}}",
    (
        Operation(
            method="GET",
            handler=grants.get_grant,
            name="getGrant",
            summary="One kept URL, and how often it was used.",
            action="queues:share",
            answers={200: "Grant"},
            refusals=(404,),
        ),
        Operation(
            method="DELETE",
            handler=grants.delete_grant,
            name="revokeGrant",
            summary="Refuse a kept URL from now on, on every node.",
            action="queues:share",
            answers={204: None},
        ),
    ),
    adds=True,
)

GRANTS = Route(
    "/v2/grants",
    (
        Operation(
            method="GET",
            handler=grants.list_grants,
            name="listGrants",
            summary="The kept URLs of the project's queues that are still good.",
            action="queues:share",
            query=_PAGE,
            answers={200: "GrantList"},
        ),
    ),
    adds=True,
)
