"""A client of event streams that reads byte by byte what a browser would, and hides nothing."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Struct

WITHIN = 20.0
"""Seconds for anything that should come soon."""


class Event(Struct, frozen=True):
    """A block of a stream that a browser would show."""

    type: str
    id: str
    """The last one that was said, in this block or before."""
    data: str

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.data)


class EventSource:
    """``async with EventSource(port, path) as source: await source.next()``"""

    def __init__(
        self,
        port: int,
        path: str,
        *,
        host: str = "127.0.0.1",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._host, self._port = host, port
        lines = {"Host": f"{host}:{port}", "Accept": "text/event-stream", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._request = f"GET {path} HTTP/1.1\r\n{head}\r\n".encode()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0
        self.blocks = 0
        """Of any kind."""
        self._text = b""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(WITHIN):
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
            self._writer.write(self._request)
            head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").rstrip().split("\r\n")
        self.status = int(status.split(" ")[1])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in pairs}
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Without a word."""
        if self._writer is not None:
            self._writer.transport.abort()

    def read_nothing(self) -> None:
        """From now on, as a client that hangs."""
        assert self._writer is not None, "it was opened"
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def begun(self) -> Self:
        """Until the stream has said where it begins."""
        async with asyncio.timeout(WITHIN):
            while not self.last_id:
                await self._block()
        return self

    async def next(self) -> Event:
        """The next event that is shown; ``EOFError`` when the stream has ended."""
        async with asyncio.timeout(WITHIN):
            while True:
                event = await self._block()
                if event is not None:
                    return event

    async def bodies(self, count: int) -> list[Any]:
        """Of so many messages, which must come next."""
        found = []
        for _ in range(count):
            event = await self.next()
            assert event.type == "message", event
            found.append(event.json["body"])
        return found

    async def rest(self) -> list[Event]:
        """Everything until the stream ends."""
        events = []
        try:
            while True:
                events.append(await self.next())
        except EOFError:
            return events

    async def _block(self) -> Event | None:
        while b"\n\n" not in self._text:
            self._text += await self._chunk()
        block, _, self._text = self._text.partition(b"\n\n")
        self.blocks += 1
        kind, data = "message", list[str]()
        for line in block.decode().split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "":
                    self.comments += 1
                case "id":
                    self.last_id = value
                case "event":
                    kind = value
                case "data":
                    data.append(value)
                case "retry":
                    self.retry = int(value)
                case _:
                    raise AssertionError(f"no such field: {line!r}")
        return Event(kind, self.last_id, "\n".join(data)) if data else None

    async def _chunk(self) -> bytes:
        assert self._reader is not None, "it was opened"
        try:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            chunk = await self._reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, ConnectionError):
            raise EOFError from None
        if not size:
            raise EOFError
        return chunk[:-2]
