"""The route table: the one place that says what exists.

The Falcon routes, the ``Allow`` headers, the query parsing, the home document and the OpenAPI
document are all made from it; nothing is routed that is not a row here. Handlers are named,
not described: what they do is in the module of their noun.
"""

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from falcon.asgi import Response
from msgspec import Struct

from nuska.core import Core
from nuska.domain.limits import Limits
from nuska.transport.http import claims, messages, pools, queues, service
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.request import ApiRequest

Handler = Callable[[Core, ApiRequest, Response], Awaitable[None]]


class Admits(Enum):
    """Which of the checks a route makes."""

    ANY_REQUEST = auto()
    """Only that the answer is acceptable: the version documents."""
    ANYBODY = auto()
    """No Client-ID, project or token, but no pre-signed request either."""
    CALLERS = auto()
    """Everything."""


class Operation(Struct, frozen=True, kw_only=True):
    """One method of a route."""

    method: str
    handler: Handler
    name: str
    """Its ``operationId``."""
    summary: str
    action: str | None = None
    """The policy in ``core/access.py``; None where nobody is asked who they are."""
    query: tuple[Parameter, ...] = ()
    filters: bool = False
    """Every other query parameter is a filter on metadata."""
    body: str | None = None
    """Schema of the request body."""
    body_required: bool = False
    body_type: str = "application/json"
    idempotent_by_key: bool = False
    """It takes an ``Idempotency-Key``."""
    answers: dict[int, str | None] = {}
    """Schema of the reply by status of success, None without a body."""
    refusals: tuple[int, ...] = ()
    """Statuses besides those of every call."""
    answer_type: str = "application/json"
    relation: str | None = None
    """Its relation in the home document."""
    relation_query: str = ""


class Route(Struct, frozen=True):
    """One path."""

    path: str
    operations: tuple[Operation, ...]
    admits: Admits = Admits.CALLERS

    @property
    def allow(self) -> str:
        """The ``Allow`` header."""
        return ", ".join([operation.method for operation in self.operations] + ["OPTIONS"])


MARKER = Parameter("marker", Kind.TEXT, "Continue after this: the marker of a next link.")
IDS = Parameter(
    "ids",
    Kind.LIST,
    "Message ids, separated by commas.",
    highest=lambda limits: limits.max_messages_per_page,
)
LONGEST_ASKED = 2**31 - 1
"""Seconds of ``wait``. What is longer than the server's ``max_wait`` is cut to it; what is
longer than this is no wait but a mistake."""
WAIT = Parameter(
    "wait",
    Kind.INTEGER,
    "Long poll: when there is nothing, wait up to this many seconds for something.",
    lowest=0,
    highest=lambda _: LONGEST_ASKED,
)
ATTRIBUTES = Parameter(
    "attributes", Kind.BOOLEAN, "Show the attributes of messages, and why one is a dead letter."
)


def _limit(highest: Callable[[Limits], int]) -> Parameter:
    return Parameter(
        "limit", Kind.INTEGER, "How many items there are at most.", lowest=1, highest=highest
    )


def _per_claim_or_pop(limits: Limits) -> int:
    return limits.max_messages_per_claim_or_pop


CLAIM_ID = Parameter("claim_id", Kind.TEXT, "The live claim that holds the message.")

_QUEUE = "/v2/queues/{queue_name}"
_MESSAGES = f"{_QUEUE}/messages"
_CLAIMS = f"{_QUEUE}/claims"

VERSIONS = Route(
    "/",
    (
        Operation(
            method="GET",
            handler=service.get_versions,
            name="getVersions",
            summary="The versions of the API.",
            answers={300: "Versions"},
        ),
    ),
    Admits.ANY_REQUEST,
)

VERSION = Route(
    "/v2",
    (
        Operation(
            method="GET",
            handler=service.get_version,
            name="getVersion",
            summary="The version of the API, for discovery.",
            answers={200: "Versions"},
        ),
    ),
    Admits.ANY_REQUEST,
)

PING = Route(
    "/v2/ping",
    (
        Operation(
            method="GET",
            handler=service.get_ping,
            name="ping",
            summary="Whether the message store answers.",
            answers={204: None},
            relation="rel/ping",
        ),
        Operation(
            method="HEAD",
            handler=service.head_ping,
            name="pingQuietly",
            summary="Whether the server answers.",
            answers={204: None},
        ),
    ),
    Admits.ANYBODY,
)

HEALTH = Route(
    "/v2/health",
    (
        Operation(
            method="GET",
            handler=service.get_health,
            name="getHealth",
            summary="Performs every kind of operation and says how it went.",
            action="health:get",
            answers={200: "Health"},
            refusals=(403,),
            relation="rel/health",
        ),
    ),
)

QUEUES = Route(
    "/v2/queues",
    (
        Operation(
            method="GET",
            handler=queues.list_queues,
            name="listQueues",
            summary="The queues of the project, by name.",
            action="queues:get_all",
            query=(
                MARKER,
                _limit(lambda limits: limits.max_queues_per_page),
                Parameter("detailed", Kind.BOOLEAN, "Show the metadata of each queue."),
                Parameter("with_count", Kind.BOOLEAN, "Count the queues of the project."),
                Parameter(
                    "name",
                    Kind.TEXT,
                    "Only queues whose name contains this.",
                    pattern="^[A-Za-z0-9_.-]*$",
                ),
            ),
            filters=True,
            answers={200: "QueueList"},
            relation="rel/queues",
            relation_query="marker,limit,detailed",
        ),
    ),
)

QUEUE = Route(
    _QUEUE,
    (
        Operation(
            method="GET",
            handler=queues.get_queue,
            name="getQueue",
            summary="The metadata of a queue, with defaults; also of one that nobody created.",
            action="queues:get",
            answers={200: "Metadata"},
            relation="rel/queue",
        ),
        Operation(
            method="PUT",
            handler=queues.put_queue,
            name="createQueue",
            summary="Create a queue; one that exists stays as it is.",
            action="queues:create",
            body="NewMetadata",
            answers={201: None, 204: None},
            relation="rel/queue",
        ),
        Operation(
            method="DELETE",
            handler=queues.delete_queue,
            name="deleteQueue",
            summary="Delete a queue with everything in it.",
            action="queues:delete",
            answers={204: None},
            relation="rel/queue",
        ),
        Operation(
            method="PATCH",
            handler=queues.patch_queue,
            name="updateQueue",
            summary="Change the metadata by a JSON patch.",
            action="queues:update",
            body="MetadataPatch",
            body_required=True,
            body_type=queues.PATCH_TYPE,
            answers={200: "Metadata"},
            refusals=(404, 409, 415),
            relation="rel/queue",
        ),
        Operation(
            method="HEAD",
            handler=queues.head_queue,
            name="queueExists",
            summary="Whether the queue exists.",
            action="queues:get",
            answers={200: None},
            refusals=(404,),
        ),
    ),
)

STATS = Route(
    f"{_QUEUE}/stats",
    (
        Operation(
            method="GET",
            handler=queues.get_stats,
            name="getStats",
            summary="How many messages a queue holds, and the oldest and newest of them.",
            action="queues:stats",
            answers={200: "Stats"},
            relation="rel/queue_stats",
        ),
    ),
)

SHARE = Route(
    f"{_QUEUE}/share",
    (
        Operation(
            method="POST",
            handler=queues.share_queue,
            name="shareQueue",
            summary="Make a pre-signed URL; needs a signing key, which this server has none of.",
            action="queues:share",
            body="Share",
            body_required=True,
            relation="rel/queue_share",
        ),
    ),
)

PURGE = Route(
    f"{_QUEUE}/purge",
    (
        Operation(
            method="POST",
            handler=queues.purge_queue,
            name="purgeQueue",
            summary="Remove every message of a queue, claimed ones too, and keep its metadata.",
            action="queues:purge",
            body="Purge",
            answers={204: None},
            relation="rel/queue_purge",
        ),
    ),
)

MESSAGES = Route(
    _MESSAGES,
    (
        Operation(
            method="POST",
            handler=messages.post_messages,
            name="postMessages",
            summary="Post messages, all or none; a missing queue is created.",
            action="messages:create",
            body="Post",
            body_required=True,
            idempotent_by_key=True,
            answers={201: "Posted"},
            refusals=(409,),
            relation="rel/post_messages",
        ),
        Operation(
            method="GET",
            handler=messages.get_messages,
            name="listMessages",
            summary="Messages by position, or those of the ids given.",
            action="messages:get_all",
            query=(
                IDS,
                MARKER,
                _limit(lambda limits: limits.max_messages_per_page),
                Parameter("echo", Kind.BOOLEAN, "Show also what this client posted."),
                Parameter("include_claimed", Kind.BOOLEAN, "Show also claimed messages."),
                Parameter("include_delayed", Kind.BOOLEAN, "Show also delayed messages."),
                WAIT,
                ATTRIBUTES,
            ),
            answers={200: "MessageList"},
            refusals=(404,),
            relation="rel/messages",
            relation_query="marker,limit,echo,include_claimed",
        ),
        Operation(
            method="DELETE",
            handler=messages.delete_messages,
            name="deleteMessages",
            summary="Delete the messages of the ids given, or take the oldest away (pop).",
            action="messages:delete_all",
            query=(
                IDS,
                Parameter("claim_ids", Kind.LIST, "The claims that hold the messages."),
                Parameter(
                    "pop",
                    Kind.INTEGER,
                    "How many messages to take.",
                    lowest=1,
                    highest=_per_claim_or_pop,
                ),
                WAIT,
                ATTRIBUTES,
            ),
            answers={200: "Popped", 204: None},
            relation="rel/messages_delete",
            relation_query="ids,pop",
        ),
    ),
)

MESSAGE = Route(
    f"{_MESSAGES}/{{message_id}}",
    (
        Operation(
            method="GET",
            handler=messages.get_message,
            name="getMessage",
            summary="One message, claimed or delayed or not.",
            action="messages:get",
            query=(ATTRIBUTES,),
            answers={200: "Message"},
            refusals=(404,),
            relation="rel/message_get",
        ),
        Operation(
            method="DELETE",
            handler=messages.delete_message,
            name="deleteMessage",
            summary="Delete one message, if it is free or its claim is named.",
            action="messages:delete",
            query=(CLAIM_ID,),
            answers={204: None},
            refusals=(403,),
            relation="rel/message_delete",
            relation_query="claim",
        ),
    ),
)

CLAIMS = Route(
    _CLAIMS,
    (
        Operation(
            method="POST",
            handler=claims.post_claim,
            name="createClaim",
            summary="Claim the oldest free messages.",
            action="claims:create",
            query=(_limit(_per_claim_or_pop), WAIT, ATTRIBUTES),
            body="ClaimTerms",
            answers={201: "Claimed", 204: None},
            relation="rel/post_claim",
            relation_query="limit",
        ),
    ),
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
)


def _pools_per_page(limits: Limits) -> int:
    return limits.max_pools_per_page


def _flavors_per_page(limits: Limits) -> int:
    return limits.max_flavors_per_page


DETAILED = Parameter("detailed", Kind.BOOLEAN, "Show what a short listing leaves out.")
_POOL = "/v2/pools/{pool_name}"
_FLAVOR = "/v2/flavors/{flavor_name}"

POOLS = Route(
    "/v2/pools",
    (
        Operation(
            method="GET",
            handler=pools.list_pools,
            name="listPools",
            summary="The pools by name.",
            action="pools:get_all",
            query=(MARKER, _limit(_pools_per_page), DETAILED),
            answers={200: "PoolList"},
            relation="rel/pools",
            relation_query="detailed,limit,marker",
        ),
    ),
)

POOL = Route(
    _POOL,
    (
        Operation(
            method="GET",
            handler=pools.get_pool,
            name="getPool",
            summary="One pool.",
            action="pools:get",
            query=(DETAILED,),
            answers={200: "Pool"},
            refusals=(404,),
            relation="rel/pool",
        ),
        Operation(
            method="PUT",
            handler=pools.put_pool,
            name="putPool",
            summary="Add a pool, or put it in place of the one of its name.",
            action="pools:create",
            body="NewPool",
            body_required=True,
            answers={201: None},
            refusals=(409,),
            relation="rel/pool",
        ),
        Operation(
            method="PATCH",
            handler=pools.patch_pool,
            name="updatePool",
            summary="Change some of a pool.",
            action="pools:update",
            body="PoolChange",
            body_required=True,
            answers={200: "Pool"},
            refusals=(404, 409),
            relation="rel/pool",
        ),
        Operation(
            method="DELETE",
            handler=pools.delete_pool,
            name="deletePool",
            summary="Remove a pool that holds nothing; its queues are placed anew.",
            action="pools:delete",
            answers={204: None},
            refusals=(403, 409),
            relation="rel/pool",
        ),
    ),
)

DRAIN = Route(
    f"{_POOL}/drain",
    (
        Operation(
            method="GET",
            handler=pools.get_drain,
            name="getDrain",
            summary="How far the last drain of the pool has come.",
            action="pools:get",
            answers={200: "Carriage"},
            refusals=(404,),
        ),
        Operation(
            method="POST",
            handler=pools.post_drain,
            name="drainPool",
            summary="Carry every queue of the pool elsewhere, in the background.",
            action="pools:update",
            body="DrainTarget",
            answers={202: "Carriage"},
            refusals=(404, 409),
        ),
    ),
)

MOVE = Route(
    f"{_QUEUE}/move",
    (
        Operation(
            method="GET",
            handler=pools.get_move,
            name="getMove",
            summary="How far the last move of the queue has come.",
            action="pools:get",
            answers={200: "Carriage"},
            refusals=(404,),
        ),
        Operation(
            method="POST",
            handler=pools.post_move,
            name="moveQueue",
            summary="Carry the queue to another pool, in the background.",
            action="pools:update",
            body="MoveTarget",
            body_required=True,
            answers={202: "Carriage"},
            refusals=(404, 409),
        ),
    ),
)

FLAVORS = Route(
    "/v2/flavors",
    (
        Operation(
            method="GET",
            handler=pools.list_flavors,
            name="listFlavors",
            summary="The flavors by name.",
            action="flavors:get_all",
            query=(MARKER, _limit(_flavors_per_page), DETAILED),
            answers={200: "FlavorList"},
            relation="rel/flavors",
            relation_query="detailed,limit,marker",
        ),
    ),
)

FLAVOR = Route(
    _FLAVOR,
    (
        Operation(
            method="GET",
            handler=pools.get_flavor,
            name="getFlavor",
            summary="One flavor.",
            action="flavors:get",
            answers={200: "Flavor"},
            refusals=(404,),
            relation="rel/flavor",
        ),
        Operation(
            method="PUT",
            handler=pools.put_flavor,
            name="putFlavor",
            summary="Add a flavor, or change which pools it has.",
            action="flavors:create",
            body="NewFlavor",
            body_required=True,
            answers={201: None},
            relation="rel/flavor",
        ),
        Operation(
            method="PATCH",
            handler=pools.patch_flavor,
            name="updateFlavor",
            summary="Change which pools a flavor has.",
            action="flavors:update",
            body="NewFlavor",
            body_required=True,
            answers={200: "Flavor"},
            refusals=(404,),
            relation="rel/flavor",
        ),
        Operation(
            method="DELETE",
            handler=pools.delete_flavor,
            name="deleteFlavor",
            summary="Remove a flavor; its pools have none then.",
            action="flavors:delete",
            answers={204: None},
            relation="rel/flavor",
        ),
    ),
)


def routes_for(limits: Limits) -> tuple[Route, ...]:
    """Every route of a server with these limits, but for the documents made from them."""
    admin: tuple[Route, ...] = (HEALTH,) if limits.admin_mode else ()
    if limits.admin_mode and limits.pooling:
        admin = (*admin, POOLS, POOL, DRAIN, MOVE, FLAVORS, FLAVOR)
    return (
        VERSIONS,
        VERSION,
        QUEUES,
        QUEUE,
        STATS,
        SHARE,
        PURGE,
        MESSAGES,
        MESSAGE,
        CLAIMS,
        CLAIM,
        PING,
        *admin,
    )
