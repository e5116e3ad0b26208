"""A WebSocket client for tests: says what it is told to say, in either encoding.

Sits on the ``websockets`` library, so that what the server sends is checked by another hand than
its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

WITHIN = 20.0
"""Seconds that anything may take."""
CLIENT = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROJECT = "acme"
MAX_SIZE = 64 * 1024 * 1024


class Answered:
    """One reply."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @property
    def status(self) -> int:
        return int(self.document["headers"]["status"])

    @property
    def body(self) -> Any:
        return self.document["body"]


class Talk:
    """One connection. Pushes that come while a reply is awaited are put aside."""

    def __init__(self, connection: ClientConnection, *, binary: bool, project: str) -> None:
        self.connection = connection
        self.binary = binary
        self.headers: dict[str, Any] = {"Client-ID": CLIENT, "X-Project-ID": project}
        self.pushes: list[dict[str, Any]] = []

    async def ask(
        self, action: str, /, headers: dict[str, Any] | None = None, **body: Any
    ) -> Answered:
        """Send a request and wait for its reply."""
        await self.send(action, headers=headers, **body)
        return await self.reply()

    async def send(
        self,
        action: str,
        /,
        headers: dict[str, Any] | None = None,
        id: str | int | None = None,  # noqa: A002  the name fits
        **body: Any,
    ) -> None:
        request: dict[str, Any] = {
            "action": action,
            "headers": {**self.headers, **(headers or {})},
            "body": body,
        }
        if id is not None:
            request["request_id"] = id
        await self.send_document(request)

    async def send_document(self, document: Any) -> None:
        if self.binary:
            await self.connection.send(msgspec.msgpack.encode(document))
        else:
            await self.connection.send(json.dumps(document))

    async def next(self) -> dict[str, Any]:
        """The next message, whatever it is."""
        async with asyncio.timeout(WITHIN):
            message = await self.connection.recv()
        document: dict[str, Any] = (
            json.loads(message) if isinstance(message, str) else msgspec.msgpack.decode(message)
        )
        return document

    async def reply(self) -> Answered:
        while True:
            document = await self.next()
            if "request" in document:
                return Answered(document)
            self.pushes.append(document)

    async def push(self) -> dict[str, Any]:
        """The next push, of those put aside first."""
        if self.pushes:
            return self.pushes.pop(0)
        document = await self.next()
        assert "request" not in document, f"a reply where a push was due: {document}"
        return document


@asynccontextmanager
async def talking(
    url: str, *, binary: bool = False, project: str = PROJECT, **options: Any
) -> AsyncIterator[Talk]:
    """A connection to ``url`` (``ws://…``), closed at the end; ``options`` go to ``connect``."""
    options = {"compression": None, "max_size": MAX_SIZE, "ping_interval": None, **options}
    async with connect(url, proxy=None, **options) as connection:
        yield Talk(connection, binary=binary, project=project)
