"""A transport that notes what it is given, write by write, and hands it on.

What is written in how many pieces cannot be seen at the other end: there it is one stream.
"""

import asyncio
from typing import Any


class Writes:
    """In place of ``transport``."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.written: list[bytes] = []
        self._transport = transport

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
