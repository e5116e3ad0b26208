"""Handlers for dead letters of queues and topics."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.redriving import RedriveService
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import dead_letters as wire
from nuska.transport.wire.paging import NO_LINKS, next_link

MAX_REDRIVE_BODY = 65_536
"""Bytes."""


async def list_dead_letters(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    page = await _redriving(core, req).page(
        req.caller,
        req.queue,
        after=asked.text("marker"),
        limit=asked.integer("limit"),
        reason=asked.text("reason"),
    )
    links = next_link(f"{req.base}/dead_letters", asked.repeated(), page.marker)
    resp.data = wire.encode_dead_letters(page, NO_LINKS if page.complete else links)


async def redrive_dead_letters(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = wire.decode_redrive(await req.read(MAX_REDRIVE_BODY, "A redrive"))
    redriven = await _redriving(core, req).redrive(
        req.caller,
        req.queue,
        ids=asked.ids,
        reason=asked.reason,
        after=asked.marker,
        limit=asked.limit,
        dry_run=asked.dry_run,
    )
    resp.data = wire.encode_redriven(redriven)


def _redriving(core: Core, req: ApiRequest) -> RedriveService:
    return core.topic_redriving if req.is_topic else core.redriving
