"""Pre-signed requests as clients make them, for the tests beside this file."""

from typing import Any
from urllib.parse import quote

from nuska.core import Core, build_core
from nuska.core.sharing import SharingRules
from nuska.domain.moments import Moment
from nuska.domain.signing import SignedTerms, Signer
from nuska.identity.none import NoAuthentication
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.transport.http import build_app

KEY = "nuska-demo-secret"
PROJECT = "7f9c1a2b3d4e5f60718293a4b5c6d7e8"
CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
FAR = Moment(1_930_367_167_000)  # 2031-03-04T05:06:07Z
NOT_FOUND = (404, {"title": "404 Not Found"})
ORDERS = "/v2/queues/orders"
BODY = {"messages": [{"body": {"job": 17}}]}


class House:
    """A service that signs, with its member of a project and a stranger who has nothing."""

    def __init__(self, *former: str, key: str = KEY, **sharing: Any) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(now=self.clock.now(), random_bytes=seeded_bytes(1))
        self.core: Core = build_core(
            store=self.store,
            clock=self.clock,
            random_bytes=seeded_bytes(2),
            sharing=SharingRules(signer=Signer(key, *former), **sharing),
        )
        app = build_app(self.core, NoAuthentication())
        self.member = AsgiDriver(app, {"Client-ID": CLIENT, "X-Project-Id": PROJECT})
        self.stranger = AsgiDriver(app, {"Client-ID": CLIENT})
        self.nobody = AsgiDriver(app, {})

    async def share(self, queue: str = "orders", **body: Any) -> dict[str, Any]:
        reply = await self.member.post(f"/v2/queues/{queue}/share", body)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.json()
        return found

    async def grant(self, queue: str = "orders", **body: Any) -> dict[str, Any]:
        reply = await self.member.post(f"/v2/queues/{queue}/grants", body)
        assert reply.status == 201, reply.body
        found: dict[str, Any] = reply.json()
        return found


def headers_of(shared: dict[str, Any]) -> dict[str, str]:
    """As python-zaqarclient sends what ``share`` has answered."""
    return {
        "URL-Signature": shared["signature"],
        "URL-Expires": shared["expires"],
        "URL-Methods": ",".join(shared["methods"]),
        "URL-Paths": ",".join(shared["paths"]),
        "X-Project-Id": shared["project"],
    }


def query_of(shared: dict[str, Any]) -> str:
    values = {
        "signature": shared["signature"],
        "expires": shared["expires"],
        "methods": ",".join(shared["methods"]),
        "paths": ",".join(shared["paths"]),
        "project_id": shared["project"],
    }
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in values.items())


def as_shared(terms: SignedTerms) -> dict[str, Any]:
    return {
        "signature": terms.signature,
        "expires": terms.expires,
        "methods": list(terms.methods),
        "paths": list(terms.paths),
        "project": terms.project or "",
    }
