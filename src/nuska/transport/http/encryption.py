"""Handlers for the data keys of encrypted queues."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.domain.moments import whole_seconds
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire.json import encode
from nuska.transport.wire.paging import NO_LINKS, next_link

KEYS_PATH = "/v2/encryption/keys"


async def list_keys(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    keys = await core.encryption.page(
        req.caller, after=asked.text("marker"), limit=asked.integer("limit")
    )
    shown = [
        {
            "id": key_id,
            "queue": key.queue,
            "created_at": whole_seconds(key.made_at),
            "operator_key": key.wrapped.operator_key,
        }
        for key_id, key in keys
    ]
    links = next_link(KEYS_PATH, asked.repeated(), keys[-1][0]) if keys else NO_LINKS
    resp.data = b'{"keys": %b, %b}' % (encode(shown), links)


async def rotate(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = encode({"queues": await core.encryption.rotate(req.caller)})


async def erase_keys(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = encode({"keys": await core.encryption.erase(req.caller)})


async def rewrap(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = encode({"keys": await core.encryption.rewrap(req.caller)})
