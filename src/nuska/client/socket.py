"""Opening a WebSocket to a server, with the same errors as the HTTP client has.

Proves who we are when a token is given, and hands back the socket; what is said over it is
the caller's. Nothing here comes again after a failure.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from nuska.client.address import Address
from nuska.client.errors import (
    CLASS_OF_STATUS,
    CannotConnect,
    ConnectionBroken,
    DeadlinePassed,
    ErrorAnswer,
    UnreadableAnswer,
)
from nuska.client.frames import Frame, encode_headers, read_frame, request, success

PATH = "/v2/websocket"
OPEN_TIMEOUT = 5.0
"""Seconds for one attempt to reach the server."""
FIRST_TIMEOUT = 30.0
"""Seconds for the reply to what has to be said first."""
CLOSE_TIMEOUT = 1.0
"""Seconds that a server has to say good-bye."""
MAX_FRAME = 64 * 1024 * 1024
"""Bytes of one answer."""
PING_EVERY = 20.0
"""Seconds between two pings, by which a server that has silently gone is noticed."""
PONG_WITHIN = 60.0
"""Seconds; a reader that is busy with what came before has that long to come back."""
Socket = TypeVar("Socket", bound=ClientConnection)
SIGNATURE = "url-signature"
TOKEN = "x-auth-token"  # noqa: S105  the name of a header


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as every frame says it; and the token that proves it once, if there is one."""

    headers: bytes
    """Of each frame, as JSON."""
    proof: bytes | None
    """Headers of the first frame, as JSON."""
    may_merge: bool
    """Whether several posts may go as one. A pre-signed URL may count requests and messages."""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Caller":
        """From the headers that every request of this client has over HTTP."""
        rest = {name: value for name, value in headers.items() if name.lower() != TOKEN}
        proof = encode_headers(headers) if len(rest) < len(headers) else None
        signed = any(name.lower() == SIGNATURE for name in headers)
        return cls(encode_headers(rest), proof, may_merge=not signed)

    def keyed(self, key: str) -> bytes:
        """The headers of a frame that may come twice."""
        return b'%b,"Idempotency-Key":%b}' % (self.headers[:-1], msgspec.json.encode(key))


async def open_socket(address: Address, caller: Caller, kind: type[Socket]) -> Socket:
    """A socket on which requests may be sent now."""
    socket = await _connected(address, kind)
    if caller.proof is not None:
        await first(socket, request("authenticate", 0, headers=caller.proof, body=b"{}"))
    return socket


async def first(socket: ClientConnection, frame: bytes) -> Frame:
    """Send a request without which the socket is of no use, and wait for the reply alone."""
    try:
        async with asyncio.timeout(FIRST_TIMEOUT):
            await socket.send(frame, text=True)
            return success(read_frame(await socket.recv(decode=False)))
    except TimeoutError as error:
        await socket.close()
        raise DeadlinePassed("The server did not answer in time.") from error
    except ConnectionClosed as error:
        raise broken(error) from error
    except BaseException:
        await socket.close()
        raise


async def _connected(address: Address, kind: type[Socket]) -> Socket:
    base = urlsplit(address.base)
    scheme = {"http": "ws", "https": "wss"}[base.scheme]
    url = urlunsplit((scheme, base.netloc, base.path + PATH, "", ""))
    options: dict[str, Any] = {
        "open_timeout": OPEN_TIMEOUT,
        "close_timeout": CLOSE_TIMEOUT,
        "ping_interval": PING_EVERY,
        "ping_timeout": PONG_WITHIN,
        "max_size": MAX_FRAME,
        "compression": None,
        "create_connection": kind,
    }
    try:
        if address.socket_path is not None:
            opened = await unix_connect(address.socket_path, url, **options)
        else:
            opened = await connect(url, proxy=None, **options)
    except TimeoutError as error:
        raise CannotConnect(f"{address} did not accept a connection.") from error
    except InvalidStatus as error:
        status = error.response.status_code
        raise CLASS_OF_STATUS.get(status, ErrorAnswer)(status) from error
    except InvalidHandshake as error:
        raise UnreadableAnswer(f"{address} does not speak WebSocket.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CannotConnect(f"Cannot connect to {address}: {reason}.") from error
    assert isinstance(opened, kind)
    return opened


def broken(error: ConnectionClosed) -> ConnectionBroken:
    """The error of who waits for an answer on a socket that is closed."""
    close = error.rcvd
    if close is None:
        return ConnectionBroken("The connection broke off before its answer.")
    return ConnectionBroken(
        f"The server closed the connection before its answer ({close.code} {close.reason})."
    )
