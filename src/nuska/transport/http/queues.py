"""Handlers for queues and topics: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.queues import QueueService
from nuska.domain.errors import InvalidBody
from nuska.transport.http.refusals import unsupported_media_type
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import queues as wire
from nuska.transport.wire.json import decode_document, encode
from nuska.transport.wire.paging import NO_LINKS, next_link

PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"
MAX_SMALL_BODY = 65_536
"""Bytes of a body that names a few things."""


async def list_queues(core: Core, req: ApiRequest, resp: Response) -> None:
    await _list(core.queues, "queues", req, resp)


async def list_topics(core: Core, req: ApiRequest, resp: Response) -> None:
    await _list(core.topics, "topics", req, resp)


async def _list(service: QueueService, noun: str, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    queues = await service.page(
        req.caller,
        after=asked.text("marker"),
        limit=asked.integer("limit"),
        detailed=asked.boolean("detailed"),
        name_contains=asked.text("name"),
        filters={name: wire.filter_value(text) for name, text in asked.filters.items()},
    )
    count = await service.count(req.caller) if asked.boolean("with_count") else None
    links = NO_LINKS
    if queues:
        again = {**asked.repeated(), **asked.filters}
        links = next_link(f"/v2/{noun}", again, queues[-1].name)
    resp.data = wire.encode_queues(noun, queues, count, links)


async def put_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    data = await req.read(core.limits.max_queue_metadata, "Queue metadata")
    created = await queues_at(core, req).create(req.caller, req.queue, wire.decode_metadata(data))
    resp.status = 201 if created else 204
    resp.set_header("location", req.base)


async def get_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = encode(await queues_at(core, req).get(req.caller, req.queue))


async def head_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.status = 200 if await queues_at(core, req).exists(req.caller, req.queue) else 404


async def patch_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    media_type = (req.content_type or "").partition(";")[0].strip().lower()
    if media_type != PATCH_TYPE:
        raise unsupported_media_type(PATCH_TYPE)
    data = await req.read(core.limits.max_queue_metadata, "A patch of queue metadata")
    if not data:
        raise InvalidBody("The request body can not be empty.")
    metadata = await queues_at(core, req).update(req.caller, req.queue, decode_document(data))
    resp.data = encode(metadata)


async def delete_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    await queues_at(core, req).delete(req.caller, req.queue)
    resp.status = 204


async def get_stats(core: Core, req: ApiRequest, resp: Response) -> None:
    statistics = await queues_at(core, req).stats(req.caller, req.queue)
    now = core.clock.now()
    if req.is_topic:
        resp.data = wire.encode_topic_stats(statistics, req.base, now)
    else:
        resp.data = wire.encode_stats(statistics, req.base, now)


async def purge_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    types = wire.decode_purge(await req.read(MAX_SMALL_BODY, "The request body of a purge"))
    await queues_at(core, req).purge(req.caller, req.queue, messages="messages" in types)
    if "subscriptions" in types:
        subscriptions = core.topic_subscriptions if req.is_topic else core.subscriptions
        await subscriptions.purge(req.caller, req.queue)
    resp.status = 204


def queues_at(core: Core, req: ApiRequest) -> QueueService:
    """Queues or topics, as the path says."""
    return core.topics if req.is_topic else core.queues
