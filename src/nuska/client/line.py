"""One open WebSocket, and who waits for an answer on it.

Made for many requests at once: an answer goes to who asked within the very call that brings
it, and requests of one turn of the event loop leave in one write. Handshake, pings and
good-byes are the library's.
"""

import asyncio
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES
from websockets.frames import Frame as Piece
from websockets.protocol import OPEN, Event

from nuska.client.errors import CannotConnect, ClientError, UnreadableAnswer
from nuska.client.frames import Frame, read_frame, request, success
from nuska.client.socket import broken

TOGETHER = 4
"""Requests in one write, at most: the server is to begin before the last of many is made."""


class Line(ClientConnection):
    """Made by ``open_socket``; after ``begin`` only ``ask`` and ``close`` are for its users."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._numbers = count(1)
        self._waiting: dict[int | str | None, asyncio.Future[Frame]] = {}
        self._pieces: list[bytes] = []
        """Of an answer that comes in several."""
        self._begun = False
        self._to_write = 0
        """Requests that have not left."""
        self._closing: asyncio.Task[None] | None = None

    @property
    def lost(self) -> bool:
        """Nothing can be asked here any more."""
        return self.protocol.state is not OPEN or self._closing is not None

    def begin(self) -> None:
        """From now on all that comes are answers to ``ask``."""
        self._begun = True

    async def ask(self, action: str, headers: bytes, body: bytes) -> Frame:
        """The answer to a request, or the error that it stands for."""
        if self.lost:
            raise CannotConnect("The connection was lost.")
        number = next(self._numbers)
        answer = self._waiting[number] = self.loop.create_future()
        try:
            self.protocol.send_text(request(action, number, headers=headers, body=body))
            self._to_write += 1
            if self._to_write == 1:
                # Those that come together are committed together, so that none goes ahead alone.
                self.loop.call_soon(self._write)
            elif self._to_write >= TOGETHER:
                self._write()
            return success(await answer)
        finally:
            del self._waiting[number]

    def _write(self) -> None:
        """What has been asked and not left, all of it; there is no more than is awaited."""
        if self._to_write and not self.transport.is_closing():
            self._to_write = 0
            self.transport.write(b"".join(self.protocol.data_to_send()))

    # From the transport

    def process_event(self, event: Event) -> None:
        if not self._begun or not isinstance(event, Piece) or event.opcode not in DATA_OPCODES:
            super().process_event(event)
            return
        self._pieces.append(bytes(event.data))
        if event.fin and self._closing is None:
            text, self._pieces = b"".join(self._pieces), []
            self._heard(text)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._fail(broken(self.close_exc))

    def _heard(self, text: bytes) -> None:
        try:
            frame = read_frame(text)
        except UnreadableAnswer as error:
            self._fail(error)
            self._closing = self.loop.create_task(self.close(), name="close the WebSocket")
            return
        answer = self._waiting.get(frame.request_id)
        if answer is not None and not answer.done():
            answer.set_result(frame)

    def _fail(self, why: ClientError) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(why)
