"""Actions on queues."""

from nuska.core.queues import ListedQueue
from nuska.domain.errors import InvalidInput
from nuska.transport.websocket.actions.rows import LIMIT, MARKER, QUEUE, Action, Field, Kind
from nuska.transport.websocket.call import Call
from nuska.transport.websocket.frames import Reply, packed_size, raw_parts, written
from nuska.transport.wire import json
from nuska.transport.wire.queues import PURGEABLE, encode_bare_stats


async def queue_list(call: Call) -> Reply:
    queues = await call.core.queues.page(
        call.caller,
        after=call.text("marker"),
        limit=call.integer("limit"),
        detailed=call.flag("detailed"),
        bare=True,
    )
    body: dict[str, object] = {"queues": [_listed(queue) for queue in queues]}
    if queues:
        body["marker"] = queues[-1].name
    return Reply(200, json.encode(body))


def _listed(queue: ListedQueue) -> dict[str, object]:
    if queue.metadata is None:
        return {"name": queue.name}
    return {"name": queue.name, "metadata": queue.metadata}


async def queue_create(call: Call) -> Reply:
    metadata = call.body.get("metadata", {})
    assert isinstance(metadata, dict)
    if metadata:
        _check_size(call, metadata)
    created = await call.core.queues.create(call.caller, call.queue, metadata)
    return Reply(201 if created else 204, json.encode(f"Queue {call.queue} created."))


def _check_size(call: Call, metadata: dict[str, object]) -> None:
    text = written(raw_parts(call.frame).metadata)
    json.check_depth(text, metadata)
    size = packed_size(metadata) if call.frame.binary else len(text)
    highest = call.core.limits.max_queue_metadata
    if size > highest:
        raise InvalidInput(f"Queue metadata is too large: the maximum is {highest} bytes.")


async def queue_get(call: Call) -> Reply:
    return Reply(200, json.encode(await call.core.queues.get(call.caller, call.queue, bare=True)))


async def queue_get_stats(call: Call) -> Reply:
    statistics = await call.core.queues.stats(call.caller, call.queue)
    body = encode_bare_stats(statistics, call.core.clock.now())
    return Reply(200 if statistics.exists else 404, body)


async def queue_delete(call: Call) -> Reply:
    await call.core.queues.delete(call.caller, call.queue)
    return Reply(204, json.encode(f"Queue {call.queue} removed."))


async def queue_purge(call: Call) -> Reply:
    types = call.body.get("resource_types", PURGEABLE)
    assert isinstance(types, list | tuple)
    await call.core.queues.purge(call.caller, call.queue, messages="messages" in types)
    if "subscriptions" in types:
        await call.core.subscriptions.purge(call.caller, call.queue)
    return Reply(204, b"{}")


ACTIONS = (
    Action(
        name="queue_list",
        handler=queue_list,
        fields=(MARKER, LIMIT, Field("detailed", Kind.BOOLEAN)),
        twin="listQueues",
        permission="queues:get_all",
    ),
    Action(
        name="queue_create",
        handler=queue_create,
        fields=(QUEUE, Field("metadata", Kind.OBJECT)),
        twin="createQueue",
        permission="queues:create",
    ),
    Action(name="queue_get", handler=queue_get, twin="getQueue", permission="queues:get"),
    Action(
        name="queue_get_stats",
        handler=queue_get_stats,
        twin="getStats",
        permission="queues:stats",
    ),
    Action(
        name="queue_delete", handler=queue_delete, twin="deleteQueue", permission="queues:delete"
    ),
    Action(
        name="queue_purge",
        handler=queue_purge,
        fields=(QUEUE, Field("resource_types", Kind.ARRAY)),
        twin="purgeQueue",
        permission="queues:purge",
    ),
)
