"""Handlers for API keys: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import keys as wire
from nuska.transport.wire.paging import NO_LINKS, next_link

MAX_KEY_BODY = 65_536
"""Bytes."""
COLLECTION = "/v2/keys"


async def post_key(core: Core, req: ApiRequest, resp: Response) -> None:
    draft = wire.decode_draft(await req.read(MAX_KEY_BODY, "The request body of a key"))
    made = await core.keys.create(req.caller, draft)
    resp.status = 201
    resp.set_header("location", f"{COLLECTION}/{made.key.id}")
    resp.set_header("cache-control", "no-store")
    resp.data = wire.encode_made(made, core.clock.now())


async def list_keys(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    page = await core.keys.page(
        req.caller, after=asked.text("marker") or "", limit=asked.integer("limit")
    )
    links = next_link(COLLECTION, asked.repeated(), page[-1].key.id) if page else NO_LINKS
    resp.data = wire.encode_keys(page, links, core.clock.now())


async def get_key(core: Core, req: ApiRequest, resp: Response) -> None:
    found = await core.keys.get(req.caller, req.path_fields["key_id"])
    resp.data = wire.encode_key(found, core.clock.now())


async def delete_key(core: Core, req: ApiRequest, resp: Response) -> None:
    await core.keys.revoke(req.caller, req.path_fields["key_id"])
    resp.status = 204
