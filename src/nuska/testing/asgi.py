"""Drive an ASGI application in-process: no socket, no server, one request at a time.

For tests of the HTTP transport. What it adds to a plain call is the other side of the
connection: bodies that come in pieces, and a client that hangs up.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Event = dict[str, Any]
Asgi = Callable[
    [dict[str, Any], Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]],
    Awaitable[None],
]


@dataclass(frozen=True)
class Reply:
    """What the application answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """One request's connection, seen from the client: ``hang_up`` closes it."""

    pieces: list[bytes | None]
    """What is still to be sent; at a None the client hangs up."""
    events: list[Event] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    going_on: asyncio.Event = field(default_factory=asyncio.Event)
    """A part of the answer has come, and there will be more."""
    heard: bool = False
    """The client was still there when the answer came."""

    def hang_up(self) -> None:
        self.gone.set()

    async def receive(self) -> Event:
        if self.pieces and not self.gone.is_set():
            piece = self.pieces.pop(0)
            if piece is None:
                self.hang_up()
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": piece, "more_body": bool(self.pieces)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.events.append(event)
        self.heard = not self.gone.is_set()
        if event.get("more_body"):
            self.going_on.set()

    @property
    def reply(self) -> Reply:
        start, *bodies = self.events
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        body = b"".join(event.get("body", b"") for event in bodies)
        return Reply(start["status"], headers, body)


class AsgiDriver:
    """Requests to ``app`` with some headers on each."""

    def __init__(self, app: Asgi, headers: Mapping[str, str] | None = None) -> None:
        self._app = app
        self._headers = dict(headers or {})

    def with_headers(self, **changes: str | None) -> "AsgiDriver":
        """Another driver; ``X_Project_Id="b"`` sets a header and None leaves one out."""
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        return AsgiDriver(self._app, _merged(self._headers, named))

    async def request(
        self,
        method: str,
        target: str,
        body: bytes | str | object = None,
        *,
        headers: Mapping[str, str | None] | None = None,
        pieces: Iterable[bytes | None] | None = None,
        scope: Mapping[str, object] | None = None,
    ) -> Reply:
        """Send one request and return the answer.

        ``body``: bytes or text as they are, anything else as JSON. ``pieces`` instead of it
        is a chunked body. ``scope`` adds what a server would put into the scope.
        """
        connection, call = self.open(
            method, target, body, headers=headers, pieces=pieces, scope=scope
        )
        await call
        return connection.reply

    def open(
        self,
        method: str,
        target: str,
        body: bytes | str | object = None,
        *,
        headers: Mapping[str, str | None] | None = None,
        pieces: Iterable[bytes | None] | None = None,
        scope: Mapping[str, object] | None = None,
    ) -> tuple[Connection, Awaitable[None]]:
        """The connection of a request and the call that serves it, not yet awaited."""
        data = body if isinstance(body, bytes) else _encoded(body)
        sent = _merged(self._headers, dict(headers or {}))
        if pieces is not None:
            sent.setdefault("Transfer-Encoding", "chunked")
        elif data or method in ("POST", "PUT", "PATCH"):
            sent.setdefault("Content-Length", str(len(data)))
        connection = Connection([data] if pieces is None else [*pieces, b""])
        path, _, query = target.partition("?")
        asked: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in sent.items()
            ],
            "nuska.gone": connection.gone.is_set,
            **(scope or {}),
        }
        return connection, self._app(asked, connection.receive, connection.send)

    async def get(self, target: str, **options: Any) -> Reply:
        return await self.request("GET", target, **options)

    async def post(self, target: str, body: object = None, **options: Any) -> Reply:
        return await self.request("POST", target, body, **options)

    async def put(self, target: str, body: object = None, **options: Any) -> Reply:
        return await self.request("PUT", target, body, **options)

    async def patch(self, target: str, body: object = None, **options: Any) -> Reply:
        return await self.request("PATCH", target, body, **options)

    async def delete(self, target: str, **options: Any) -> Reply:
        return await self.request("DELETE", target, **options)


def _encoded(body: object) -> bytes:
    if body is None:
        return b""
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _merged(headers: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    changed = {name.lower() for name in changes}
    merged = {name: value for name, value in headers.items() if name.lower() not in changed}
    merged.update({name: value for name, value in changes.items() if value is not None})
    return merged
