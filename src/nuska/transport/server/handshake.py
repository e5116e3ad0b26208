"""From HTTP to WebSocket: one request that ends the one and begins the other.

What the ``websockets`` library says of a handshake holds; before it, what this server demands of
every request holds too.
"""

import logging
from asyncio import Transport
from typing import TYPE_CHECKING, Any

from websockets.http11 import Request
from websockets.server import ServerProtocol

from nuska.transport.server.framing import DEFLATE
from nuska.transport.server.refusals import FOREIGN, TOO_MANY_CONNECTIONS, Refusal, malformed
from nuska.transport.server.sockets import Sockets
from nuska.transport.server.websocket import WebSocketConnection

if TYPE_CHECKING:
    from nuska.transport.server.connection import Connection

_QUIET = logging.getLogger("nuska.websocket.frames")
_QUIET.setLevel(logging.WARNING)
"""Never lower, whatever is asked of the others: the library would show what is in frames."""
_NOT_A_HANDSHAKE = "This is no WebSocket handshake"


def is_handshake(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a request asks for WebSockets and brings no body."""
    named = dict(headers)
    return (
        named.get(b"upgrade", b"").strip().lower() == b"websocket"
        and named.get(b"content-length", b"0").strip(b" 0") == b""
        and b"transfer-encoding" not in named
    )


def upgrade(connection: "Connection", sockets: Sockets, scope: dict[str, Any], rest: bytes) -> None:
    """Answer a handshake; what came after it in the same piece of input is ``rest``."""
    address = _address_of(scope)
    refusal = _refusal(sockets, scope, address)
    if refusal is not None:
        sockets.counters.turned_away += 1
        connection.refuse_upgrade(refusal)
        return
    protocol = ServerProtocol(
        extensions=DEFLATE if sockets.bounds.websocket_compression else None,
        max_size=sockets.max_message,
        logger=_QUIET,
    )
    protocol.receive_data(_head(scope))
    requests = protocol.events_received()
    if len(requests) != 1 or not isinstance(requests[0], Request):
        connection.refuse_upgrade(malformed(f"{_NOT_A_HANDSHAKE}."))
        return
    response = protocol.accept(requests[0])
    if response.status_code != 101:  # the status is "Switching Protocols"
        words = bytes(response.body or b"").decode().strip().partition("\n")[0]
        connection.refuse_upgrade(malformed(f"{_NOT_A_HANDSHAKE}: {words}"))
        return
    response.headers["x-openstack-request-id"] = scope["nuska.request_id"]
    protocol.send_response(response)
    transport: Transport = connection.transport
    connection.leave()
    upgraded = WebSocketConnection(connection.shared, sockets, transport, protocol, address)
    transport.set_protocol(upgraded)
    transport.write(b"".join(protocol.data_to_send()))
    if rest:
        upgraded.data_received(rest)


def _refusal(sockets: Sockets, scope: dict[str, Any], address: str) -> Refusal | None:
    if not sockets.admit(dict(scope["headers"])):
        return FOREIGN
    if not sockets.has_room(address):
        return TOO_MANY_CONNECTIONS
    return None


def _address_of(scope: dict[str, Any]) -> str:
    client = scope["client"]
    return "" if client is None else str(client[0])


def _head(scope: dict[str, Any]) -> bytes:
    """The request again, for the library to read."""
    lines = [b"%s: %s" % header for header in scope["headers"]]
    method, version = scope["method"].encode(), scope["http_version"].encode()
    first = b"%s %s HTTP/%s" % (method, scope["raw_path"], version)
    return b"\r\n".join([first, *lines, b"", b""])
