"""An HTTP client that repeats nothing by itself, for those who must know what was answered.

A library may send a request again when a connection breaks; here a broken connection is an
``Unanswered``, and whether the request took effect is unknown. One connection, one request at
a time. Refuses to know anything about queues but the headers every request carries.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import msgspec

from nuska.testing.raw_http import Answer, parse_answers

ANSWER_WITHIN = 60.0
"""Seconds; beyond that something hangs, and that is a finding."""
_PIECE = 65_536


class Unanswered(Exception):
    """The connection broke, or could not be made: what was asked may have happened."""


class PlainClient:
    """``await client.ask("POST", "/v2/…", {…})``; connects anew after a break."""

    def __init__(self, port: int | Callable[[], int], *, project: str, client_id: str) -> None:
        """``port`` may be a function, which is asked at every connection."""
        self._port = port
        self._head = f"Host: localhost\r\nX-Project-Id: {project}\r\nClient-ID: {client_id}\r\n"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hang_up()
        await asyncio.sleep(0)  # the event loop closes the socket at its next turn

    def hang_up(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def ask(self, method: str, target: str, document: Any = None, **headers: str) -> Answer:
        """One request, one answer, whatever its status."""
        body = b"" if document is None else msgspec.json.encode(document)
        head = f"{method} {target} HTTP/1.1\r\n{self._head}"
        if document is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        for name, value in headers.items():
            head += f"{name.replace('_', '-')}: {value}\r\n"
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self._exchange(head.encode() + b"\r\n" + body)
        except OSError as error:  # a TimeoutError too
            self.hang_up()
            raise Unanswered(f"{method} {target}: {error!r}") from error
        except BaseException:
            self.hang_up()
            raise

    async def _exchange(self, request: bytes) -> Answer:
        if self._streams is None:
            port = self._port if isinstance(self._port, int) else self._port()
            self._streams = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        received = b""
        while True:
            piece = await reader.read(_PIECE)
            if not piece:
                raise ConnectionError("closed before the answer")
            received += piece
            answers, _ = parse_answers(received)
            if answers:
                if answers[0].headers.get("connection") == "close":
                    self.hang_up()
                return answers[0]
