"""Actions about the connection and the service; and those that only HTTP has."""

from http import HTTPStatus

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.interfaces.identity import Verified
from nuska.transport.websocket.actions.rows import PROJECT_ID, Action
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import Reply, refused
from nuska.transport.wire.json import encode

AUTHENTICATED = Reply(200, encode({"message": "Authentified."}))
FAILED = "Authentication failed."


async def authenticate(call: Call) -> Reply:
    headers, session = call.headers, call.session
    before = session.standing.verified
    try:
        await session.standing.authenticate(headers)
    except NotAuthenticated:
        raise refused(HTTPStatus.UNAUTHORIZED, FAILED) from None
    except Unavailable:
        raise refused(HTTPStatus.SERVICE_UNAVAILABLE, FAILED) from None
    if before is not None and not _is_the_same(before, session.standing.verified):
        session.end_subscriptions()  # nobody watches any more whether their right holds
    return AUTHENTICATED


def _is_the_same(one: Verified, other: Verified | None) -> bool:
    """Whether the same may be done with both, by the same user."""
    return other is not None and (one.project, one.user, one.roles, one.grant) == (
        other.project,
        other.user,
        other.roles,
        other.grant,
    )


async def elsewhere(_call: Call) -> Reply:
    """What Zaqar's schema knows and no WebSocket server has ever done."""
    raise refused(
        HTTPStatus.NOT_IMPLEMENTED, "This action is not implemented on WebSockets; use HTTP."
    )


_ELSEWHERE = (
    "get_home_doc",
    "check_node_health",
    "ping_node",
    "pool_create",
    "pool_list",
    "pool_get",
    "pool_update",
    "pool_delete",
    "flavor_create",
    "flavor_list",
    "flavor_get",
    "flavor_update",
    "flavor_delete",
)

AUTHENTICATE = Action(
    name="authenticate",
    handler=authenticate,
    fields=(),
    headers=(PROJECT_ID,),
    settles_who=True,
)
"""That there is a token is the identity's to ask for: in open mode clients send null."""

ACTIONS = (
    AUTHENTICATE,
    *(Action(name=name, handler=elsewhere, fields=()) for name in _ELSEWHERE),
)
