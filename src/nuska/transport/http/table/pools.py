"""The rows about pools, flavors and queues that move."""

from nuska.domain.limits import Limits
from nuska.transport.http import pools
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.table.rows import MARKER, QUEUE_PATH, Operation, Route, limit


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
            query=(MARKER, limit(_pools_per_page), DETAILED),
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
    adds=True,
)

WHEREABOUTS = Route(
    f"{QUEUE_PATH}/pool",
    (
        Operation(
            method="GET",
            handler=pools.get_whereabouts,
            name="getWhereabouts",
            summary="In which pool the queue lies.",
            action="pools:get",
            answers={200: "Whereabouts"},
            refusals=(404,),
        ),
    ),
)

MOVE = Route(
    f"{QUEUE_PATH}/move",
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
    adds=True,
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
            query=(MARKER, limit(_flavors_per_page), DETAILED),
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
