"""Web pages of other origins that may use the API from a browser (contract README §4 step 1, §6).

Only pages that the operator has named. A request from another page is served as ever, without the
headers by which its browser would let it see the answer. Nothing is wrapped where no page is named.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from nuska.transport.server.asgi import AsgiApp

ANY = "*"
METHODS = b"GET,PUT,POST,DELETE,PATCH,HEAD"
ALLOWED_HEADERS = (
    b"X-Auth-Token,X-Identity-Status,X-Roles,X-Service-Catalog,X-User-Id,X-Tenant-Id,"
    b"X-OpenStack-Request-ID,X-Trace-Info,X-Trace-HMAC,Client-id,"
    b"Authorization,X-Api-Key,X-Project-Id,Content-Type,Accept,Idempotency-Key,Last-Event-ID,"
    b"URL-Signature,URL-Expires,URL-Methods,URL-Paths"
)
"""The contract's, and what else the API reads. A browser sends no credentials by itself here."""
EXPOSED_HEADERS = (
    b"X-Auth-Token,X-Subject-Token,X-Service-Token,X-OpenStack-Request-ID,Location,Retry-After,"
    b"WWW-Authenticate"
)
MAX_AGE = b"3600"
"""Seconds for which a browser need not ask again."""

Event = dict[str, Any]
Send = Callable[[Event], Awaitable[None]]


def with_cors(app: AsgiApp, origins: Iterable[str]) -> AsgiApp:
    """``app`` for pages of these origins, too; as it is when there are none."""
    named = frozenset(origin.encode("latin-1") for origin in origins)
    if not named:
        return app
    everybody = ANY.encode() in named

    async def answer(scope: Event, receive: Callable[[], Awaitable[Event]], send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        good = origin is not None and (everybody or origin in named)
        if good and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            assert origin is not None
            await _preflight(origin, send)
            return

        async def send_with(event: Event) -> None:
            if event["type"] == "http.response.start":
                more = [(b"vary", b"Origin")]
                if good:
                    assert origin is not None
                    more += _seen_by(origin)
                event = {**event, "headers": [*event.get("headers", ()), *more]}
            await send(event)

        await app(scope, receive, send_with)

    return answer


async def _preflight(origin: bytes, send: Send) -> None:
    headers = [
        *_seen_by(origin),
        (b"access-control-allow-methods", METHODS),
        (b"access-control-allow-headers", ALLOWED_HEADERS),
        (b"access-control-max-age", MAX_AGE),
        (b"vary", b"Origin"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _seen_by(origin: bytes) -> list[tuple[bytes, bytes]]:
    """The origin itself, never ``*``: so a cache keeps the answers apart."""
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", EXPOSED_HEADERS),
    ]
