"""The rows about queues."""

from nuska.transport.http import queues
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.table.rows import MARKER, QUEUE_PATH, Operation, Route, limit

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
                limit(lambda limits: limits.max_queues_per_page),
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
    QUEUE_PATH,
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
    f"{QUEUE_PATH}/stats",
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

PURGE = Route(
    f"{QUEUE_PATH}/purge",
    (
        Operation(
            method="POST",
            handler=queues.purge_queue,
            name="purgeQueue",
            summary="Remove every message and subscription of a queue, and keep its metadata.",
            action="queues:purge",
            body="Purge",
            answers={204: None},
            relation="rel/queue_purge",
        ),
    ),
)
