"""Handlers for what has become of deliveries: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.deliveries import DeliveryService
from nuska.domain.positions import Position, parse_marker
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import deliveries as wire
from nuska.transport.wire.paging import NO_LINKS, next_link

MAX_REPLAY_BODY = 1024
"""Bytes."""
BEYOND_ALL = Position(2**53 - 1)
"""After what is no marker nothing comes, as in other lists."""


async def list_attempts(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    found = await _service(core, req).attempts(
        req.caller,
        req.queue,
        _id(req),
        since=asked.integer("since"),
        after=_marker(asked.text("marker")),
        limit=asked.integer("limit"),
    )
    path = f"{req.base}/subscriptions/{_id(req)}/attempts"
    links = next_link(path, asked.repeated(), str(found.marker))
    resp.data = wire.encode_attempts(found, NO_LINKS if found.complete else links)


async def show_standing(core: Core, req: ApiRequest, resp: Response) -> None:
    since = req.asked.integer("since")
    standing = await _service(core, req).standing(req.caller, req.queue, _id(req), since=since)
    resp.data = wire.encode_standing(standing)


async def try_out(core: Core, req: ApiRequest, resp: Response) -> None:
    message_id = await _service(core, req).try_out(req.caller, req.queue, _id(req))
    resp.status = 202
    resp.data = wire.encode_trial(message_id)


async def replay(core: Core, req: ApiRequest, resp: Response) -> None:
    since = wire.decode_replay(await req.read(MAX_REPLAY_BODY, "The request body of a replay"))
    await _service(core, req).replay(req.caller, req.queue, _id(req), since=since)
    resp.status = 204


def _marker(text: str | None) -> Position | None:
    if text is None:
        return None
    return parse_marker(text) or BEYOND_ALL


def _service(core: Core, req: ApiRequest) -> DeliveryService:
    return core.topic_deliveries if req.is_topic else core.deliveries


def _id(req: ApiRequest) -> str:
    return req.path_fields["subscriptions_id"]
