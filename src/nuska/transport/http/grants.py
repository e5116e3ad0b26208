"""Handlers for pre-signed URLs, kept ones and others: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import signing as wire

MAX_SHARE = 65_536
"""Bytes of a body that says what is to be signed."""
_BODY = "The request body of a share"


async def share_queue(core: Core, req: ApiRequest, resp: Response) -> None:
    terms = wire.decode_share(await req.read(MAX_SHARE, _BODY), core.clock.now())
    resp.set_header("cache-control", "no-store")
    resp.data = wire.encode_share(core.sharing.share(req.caller, req.queue, terms))


async def post_grant(core: Core, req: ApiRequest, resp: Response) -> None:
    data = await req.read(MAX_SHARE, _BODY)
    terms, narrowing = wire.decode_grant(data, core.clock.now())
    grant, signed = await core.sharing.create(req.caller, req.queue, terms, narrowing)
    resp.status = 201
    resp.set_header("location", f"{req.base}/grants/{grant.id}")
    resp.set_header("cache-control", "no-store")
    resp.data = wire.encode_granted(grant, signed)


async def list_grants(core: Core, req: ApiRequest, resp: Response) -> None:
    """Of a queue, or of all queues of the project, as the path says."""
    asked = req.asked
    name = req.path_fields.get("queue_name")
    found = await core.sharing.page(
        req.caller,
        name,
        after=wire.read_marker(asked.text("marker")),
        limit=asked.integer("limit"),
    )
    href = "/v2/grants" if name is None else f"{req.base}/grants"
    resp.data = wire.encode_grants(found, href, asked.repeated())


async def get_grant(core: Core, req: ApiRequest, resp: Response) -> None:
    found = await core.sharing.get(req.caller, req.queue, req.path_fields["grant_id"])
    resp.data = wire.encode_grant(found)


async def delete_grant(core: Core, req: ApiRequest, resp: Response) -> None:
    await core.sharing.revoke(req.caller, req.queue, req.path_fields["grant_id"])
    resp.status = 204
