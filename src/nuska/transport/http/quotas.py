"""Handlers for quotas: decode, call, encode."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import quotas as wire

MAX_BODY = 4096
"""Bytes."""


async def get_quota(core: Core, req: ApiRequest, resp: Response) -> None:
    shown = await core.quotas.show(req.caller, req.path_fields["project_id"])
    resp.data = wire.encode_quota(shown)


async def put_quota(core: Core, req: ApiRequest, resp: Response) -> None:
    override = wire.decode_override(await req.read(MAX_BODY, "The request body of a quota"))
    shown = await core.quotas.put(req.caller, req.path_fields["project_id"], override)
    resp.data = wire.encode_quota(shown)


async def delete_quota(core: Core, req: ApiRequest, resp: Response) -> None:
    await core.quotas.reset(req.caller, req.path_fields["project_id"])
    resp.status = 204
