"""An issuer of JSON Web Tokens for tests: keys of its own, and a server that publishes them."""

import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey


class Issuer:
    """Publishes ``published`` and what a test adds to it; counts who asks."""

    def __init__(self) -> None:
        self.url = ""
        self.published: list[dict[str, Any]] = []
        self.status = 200
        self.fetched = 0
        self.rsa = self.new_rsa("rsa-1")

    def new_rsa(self, kid: str, bits: int = 2048, *, publish: bool = True) -> RSAKey:
        key = RSAKey.generate_key(bits, {"kid": kid, "use": "sig"}, private=True)
        if publish:
            self.publish(key)
        return key

    def new_ec(self, kid: str) -> ECKey:
        key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig"}, private=True)
        self.publish(key)
        return key

    def publish(self, key: RSAKey | ECKey | OKPKey) -> None:
        self.published.append(dict(key.as_dict(private=False)))

    def token(
        self,
        claims: Mapping[str, Any],
        key: Key | None = None,
        algorithm: str = "RS256",
        **header: Any,
    ) -> str:
        key = self.rsa if key is None else key
        head = {"alg": algorithm, "kid": key.kid, **header}
        head = {name: value for name, value in head.items() if value is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # EdDSA has a newer name
            return jwt.encode(head, dict(claims), key, algorithms=[algorithm])


@asynccontextmanager
async def publishing(issuer: Issuer) -> AsyncIterator[Issuer]:
    """The issuer's server, on a free port of 127.0.0.1, for as long as a test needs it."""

    async def keys(_: web.Request) -> web.Response:
        issuer.fetched += 1
        return web.json_response({"keys": issuer.published}, status=issuer.status)

    async def configuration(_: web.Request) -> web.Response:
        return web.json_response({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})

    app = web.Application()
    app.router.add_get("/keys", keys)
    app.router.add_get("/.well-known/openid-configuration", configuration)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield issuer
    finally:
        await runner.cleanup()
