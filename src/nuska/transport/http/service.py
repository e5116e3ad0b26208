"""Handlers about the service itself: version, home document, OpenAPI, ping, health."""

from falcon.asgi import Response
from msgspec import to_builtins

from nuska.core import Core
from nuska.core.health import PooledFindings
from nuska.domain.errors import Unavailable
from nuska.domain.pools import MISSING_KEYS
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire.json import encode

VERSIONS = encode(
    {
        "versions": [
            {
                "id": "2",
                "status": "CURRENT",
                "updated": "2014-9-24T04:06:47Z",
                "media-types": [
                    {
                        "base": "application/json",
                        "type": "application/vnd.openstack.messaging-v2+json",
                    }
                ],
                "links": [{"href": "/v2/", "rel": "self"}],
            }
        ]
    }
)
"""Contract README §3; ``id`` is text, and the date has the form that clients know."""


async def get_versions(_core: Core, _req: ApiRequest, resp: Response) -> None:
    resp.status = 300
    resp.data = VERSIONS


async def get_version(_core: Core, _req: ApiRequest, resp: Response) -> None:
    resp.data = VERSIONS


async def get_ping(core: Core, _req: ApiRequest, resp: Response) -> None:
    try:
        await core.health.ping()
    except Unavailable as error:
        resp.status = 503
        if error.retry_after is not None:
            resp.set_header("retry-after", str(error.retry_after))
    else:
        resp.status = 204


async def head_ping(_core: Core, _req: ApiRequest, resp: Response) -> None:
    resp.status = 204


async def get_health(core: Core, req: ApiRequest, resp: Response) -> None:
    findings = await core.health.check(req.caller)
    if isinstance(findings, PooledFindings):
        pools = {name: to_builtins(found) for name, found in findings.pools.items()}
        document = {**pools, "catalog_reachable": findings.catalog_reachable}
        if findings.missing_encryption_keys:
            document[MISSING_KEYS] = findings.missing_encryption_keys
        resp.data = encode(document)
    else:
        resp.data = encode(to_builtins(findings))
