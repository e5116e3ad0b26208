"""What a WebSocket client sends, byte by byte, for tests that send it cut, doubled or wrong.

Masks with zeros, so that what is sent can be read; knows nothing of what a server answers.
"""

import base64
import os
import struct


def handshake(path: str = "/", **headers: str) -> bytes:
    """A request for a WebSocket; ``headers`` replace its own, an empty one leaves it out."""
    given = {
        "Host": "localhost",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    lines = [f"{name}: {value}" for name, value in given.items() if value]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, length: int | None = None) -> bytes:
    """One frame of a client, masked with zeros."""
    size = len(payload) if length is None else length
    first = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        head = first + bytes([0x80 | size])
    elif size < 65_536:
        head = first + b"\xfe" + struct.pack("!H", size)
    else:
        head = first + b"\xff" + struct.pack("!Q", size)
    return head + b"\0\0\0\0" + payload
