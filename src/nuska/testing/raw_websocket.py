"""A WebSocket connection of which a test writes every byte."""

import asyncio
import contextlib
import json
import struct
from typing import Any

from nuska.testing.websocket_client import CLIENT

WITHIN = 20.0


def request(action: str, id_: int | None = None, /, **body: Any) -> bytes:
    headers = {"Client-ID": CLIENT, "X-Project-ID": "acme"}
    document: dict[str, Any] = {"action": action, "headers": headers, "body": body}
    if id_ is not None:
        document["request_id"] = id_
    return json.dumps(document).encode()


LIST = request("queue_list")


class Raw:
    """A connection of which the test writes every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def head(self) -> str:
        async with asyncio.timeout(WITHIN):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame of the server."""
        async with asyncio.timeout(WITHIN):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                [size] = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                [size] = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """Read on to the close frame, and its code."""
        while True:
            opcode, payload = await self.frame()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big")

    async def ended(self) -> None:
        async with asyncio.timeout(WITHIN):
            with contextlib.suppress(ConnectionError):
                await self.reader.read()
        self.writer.close()
