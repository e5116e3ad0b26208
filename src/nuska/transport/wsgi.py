"""The ASGI application under a WSGI server: a request comes in a thread, and waits there while an
event loop in another one answers it. a2wsgi hands things over; here is what WSGI servers leave
to applications.

Refuses bodies whose length is not known, since WSGI has no way to say where they end, and
WebSockets, which need the connection itself. Never knows whether a client has gone.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from urllib.parse import quote

from a2wsgi import ASGIMiddleware

from nuska.transport.server.asgi import AsgiApp
from nuska.transport.server.refusals import NOSNIFF
from nuska.transport.wire.errors import error_body

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]
WsgiApp: TypeAlias = Callable[[Environ, StartResponse], Iterable[bytes]]

_HOP_BY_HOP = frozenset({b"connection", b"keep-alive"})
"""A WSGI application may not speak of the connection."""
NO_WEBSOCKETS = (
    "A WSGI server has no WebSockets. Connect to a node on the same store that runs nuska serve."
)
_NOSNIFF = (NOSNIFF[0].encode(), NOSNIFF[1].encode())
_ASCII = "".join(map(chr, range(33, 127)))


def bridge(app: AsgiApp, loop: asyncio.AbstractEventLoop) -> WsgiApp:
    """``app``, which lives in ``loop``, for threads; the loop runs in one of its own."""

    async def without_connection(scope: Any, receive: Any, send: Any) -> None:
        async def send_on(event: Any) -> None:
            if event["type"] == "http.response.start":
                kept = [pair for pair in event["headers"] if pair[0].lower() not in _HOP_BY_HOP]
                event = {**event, "headers": [*kept, _NOSNIFF]}
            await send(event)

        sent = quote(scope["path"]).encode()  # WSGI does not tell how it was written
        await app({**scope, "raw_path": sent}, receive, send_on)

    middleware: Any = ASGIMiddleware(without_connection, loop=loop)

    def answer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_UPGRADE", "").lower() == "websocket":
            return refuse(start_response, "501 Not Implemented", NO_WEBSOCKETS)
        if environ.get("HTTP_TRANSFER_ENCODING"):
            return refuse(start_response, "411 Length Required", "Content-Length is missing.")
        length = environ.get("CONTENT_LENGTH") or "0"
        if not (length.isascii() and length.isdigit()):
            return refuse(start_response, "400 Bad Request", "Content-Length is not a number.")
        answered: Iterable[bytes] = middleware(_tidied(environ), start_response)
        return answered

    return answer


def refuse(
    start_response: StartResponse, status: str, sentence: str, *headers: tuple[str, str]
) -> list[bytes]:
    """An answer from here, in the shape of the API's errors."""
    body = error_body(status.partition(" ")[2], sentence)
    described = [("content-type", "application/json"), ("content-length", str(len(body)))]
    start_response(status, [*described, NOSNIFF, *headers])
    return [body]


def _tidied(environ: Environ) -> Environ:
    """With a path and a query as our own server would give them, whatever bytes were sent, and
    with an address also where requests come over a socket file."""
    path = environ.get("PATH_INFO", "").encode("latin-1").decode("utf-8", "replace")
    return {
        **environ,
        "PATH_INFO": path.encode("utf-8").decode("latin-1"),
        "QUERY_STRING": quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe=_ASCII),
        "SERVER_NAME": environ.get("SERVER_NAME") or "localhost",
        "SERVER_PORT": environ.get("SERVER_PORT") or "80",
        "REMOTE_PORT": environ.get("REMOTE_PORT") or "0",
    }
