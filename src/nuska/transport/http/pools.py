"""Handlers for pools, flavors, and queues that move between pools."""

from falcon.asgi import Response

from nuska.core import Core
from nuska.core.pools import FlavorService, PoolService
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import pools as wire
from nuska.transport.wire.paging import NO_LINKS, next_link

MAX_ADMIN_BODY = 65_536
"""Bytes of a body that describes a pool or a flavor, or names a pool."""
POOLS_PATH = "/v2/pools"
FLAVORS_PATH = "/v2/flavors"


def _pools(core: Core) -> PoolService:
    assert core.pools is not None, "these routes exist with pooling only"
    return core.pools


def _flavors(core: Core) -> FlavorService:
    assert core.flavors is not None, "these routes exist with pooling only"
    return core.flavors


async def list_pools(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    pools = await _pools(core).page(
        req.caller, after=asked.text("marker"), limit=asked.integer("limit")
    )
    links = next_link(POOLS_PATH, asked.repeated(), pools[-1].name) if pools else NO_LINKS
    resp.set_header("content-location", req.relative_uri)
    resp.data = wire.encode_pools(pools, links, detailed=asked.boolean("detailed"))


async def put_pool(core: Core, req: ApiRequest, resp: Response) -> None:
    name = req.path_fields["pool_name"]
    data = await req.read(MAX_ADMIN_BODY, "The description of a pool")
    await _pools(core).put(req.caller, wire.decode_pool(name, data))
    resp.status = 201
    resp.set_header("location", wire.pool_href(name))


async def get_pool(core: Core, req: ApiRequest, resp: Response) -> None:
    pool = await _pools(core).get(req.caller, req.path_fields["pool_name"])
    resp.data = wire.encode_pool(pool, detailed=req.asked.boolean("detailed"))


async def patch_pool(core: Core, req: ApiRequest, resp: Response) -> None:
    data = await req.read(MAX_ADMIN_BODY, "The description of a pool")
    change = wire.decode_change(data)
    pool = await _pools(core).update(req.caller, req.path_fields["pool_name"], change)
    resp.data = wire.encode_pool(pool, detailed=False)


async def delete_pool(core: Core, req: ApiRequest, resp: Response) -> None:
    await _pools(core).delete(req.caller, req.path_fields["pool_name"])
    resp.status = 204


async def post_drain(core: Core, req: ApiRequest, resp: Response) -> None:
    target = wire.decode_target(await req.read(MAX_ADMIN_BODY, "A drain"), required=False)
    name = req.path_fields["pool_name"]
    resp.data = wire.encode_carriage(await _pools(core).start_drain(req.caller, name, target))
    resp.status = 202


async def get_drain(core: Core, req: ApiRequest, resp: Response) -> None:
    carriage = await _pools(core).drain(req.caller, req.path_fields["pool_name"])
    resp.data = wire.encode_carriage(carriage)


async def get_whereabouts(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = wire.encode_whereabouts(await _pools(core).whereabouts(req.caller, req.queue))


async def post_move(core: Core, req: ApiRequest, resp: Response) -> None:
    target = wire.decode_target(await req.read(MAX_ADMIN_BODY, "A move"), required=True)
    assert target is not None, "it is required"
    resp.data = wire.encode_carriage(await _pools(core).start_move(req.caller, req.queue, target))
    resp.status = 202


async def get_move(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = wire.encode_carriage(await _pools(core).move(req.caller, req.queue))


async def list_flavors(core: Core, req: ApiRequest, resp: Response) -> None:
    asked = req.asked
    flavors = await _flavors(core).page(
        req.caller,
        after=asked.text("marker"),
        limit=asked.integer("limit"),
        detailed=asked.boolean("detailed"),
    )
    links = NO_LINKS
    if flavors:
        links = next_link(FLAVORS_PATH, asked.repeated(), flavors[-1].flavor.name)
    resp.data = wire.encode_flavors(flavors, links)


async def put_flavor(core: Core, req: ApiRequest, resp: Response) -> None:
    name = req.path_fields["flavor_name"]
    data = await req.read(MAX_ADMIN_BODY, "The description of a flavor")
    await _flavors(core).put(req.caller, wire.decode_flavor(name, data))
    resp.status = 201
    resp.set_header("location", wire.flavor_href(name))


async def get_flavor(core: Core, req: ApiRequest, resp: Response) -> None:
    resp.data = wire.encode_flavor(
        await _flavors(core).get(req.caller, req.path_fields["flavor_name"])
    )


async def patch_flavor(core: Core, req: ApiRequest, resp: Response) -> None:
    data = await req.read(MAX_ADMIN_BODY, "The description of a flavor")
    flavor = wire.decode_flavor(req.path_fields["flavor_name"], data)
    resp.data = wire.encode_flavor(await _flavors(core).update(req.caller, flavor))


async def delete_flavor(core: Core, req: ApiRequest, resp: Response) -> None:
    await _flavors(core).delete(req.caller, req.path_fields["flavor_name"])
    resp.status = 204
