"""An ASGI application for a port that is for WebSockets alone."""

import json
from typing import Any

_BODY = json.dumps(
    {
        "title": "Upgrade required",
        "description": "Only WebSockets are spoken on this port. HTTP is on another.",
    }
).encode()
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
    (b"upgrade", b"websocket"),
]


async def upgrade_only(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 426, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY, "more_body": False})
