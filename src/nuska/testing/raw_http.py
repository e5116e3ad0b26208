"""HTTP by hand: send exactly these bytes, read back whole answers.

For requests that no client library would send. Tells whether the server closed the
connection, which is half of a good answer to a bad request.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable

from msgspec import Struct

ANSWER_WITHIN = 20.0
"""Seconds for a whole conversation."""
_NO_BODY = frozenset({204, 304})
_PIECE = 65_536


class Answer(Struct, frozen=True):
    """One answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Conversation(Struct, frozen=True):
    """What came back on one connection."""

    answers: list[Answer]
    closed: bool
    """The server ended the connection; False: we had what we wanted and left."""

    @property
    def status(self) -> int:
        """Of the last answer; 0 when there was none."""
        return self.answers[-1].status if self.answers else 0


async def converse(
    host: str,
    port: int,
    pieces: bytes | Iterable[bytes] | AsyncIterable[bytes],
    *,
    answers: int = 1,
    until_closed: bool = False,
    within: float = ANSWER_WITHIN,
) -> Conversation:
    """Send ``pieces`` while reading; leave after ``answers`` answers, or when the server does.

    Raises ``TimeoutError`` when neither happens in time.
    """
    async with asyncio.timeout(within):
        reader, writer = await asyncio.open_connection(host, port)
        sending = asyncio.create_task(_send(writer, pieces))
        try:
            return await _read(reader, None if until_closed else answers)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            writer.transport.abort()


async def _send(
    writer: asyncio.StreamWriter, pieces: bytes | Iterable[bytes] | AsyncIterable[bytes]
) -> None:
    try:
        async for piece in _each(pieces):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # the server would not hear it to the end


async def _each(pieces: bytes | Iterable[bytes] | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(pieces, bytes):
        yield pieces
    elif isinstance(pieces, AsyncIterable):
        async for piece in pieces:
            yield piece
    else:
        for piece in pieces:
            yield piece


async def _read(reader: asyncio.StreamReader, wanted: int | None) -> Conversation:
    received = b""
    while True:
        answers, _ = parse_answers(received)
        if wanted is not None and len(answers) >= wanted:
            return Conversation(answers, closed=False)
        try:
            piece = await reader.read(_PIECE)
        except ConnectionError:
            piece = b""
        if not piece:
            return Conversation(answers, closed=True)
        received += piece


def parse_answers(received: bytes) -> tuple[list[Answer], bytes]:
    """Whole final answers (not 1xx), and what is left over."""
    answers: list[Answer] = []
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return answers, received
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        body = _body(status, headers, rest)
        if body is None:
            return answers, received
        received = rest[body[1] :]
        if status >= 200:
            answers.append(Answer(status, headers, body[0]))


def _body(status: int, headers: dict[str, str], rest: bytes) -> tuple[bytes, int] | None:
    """The body and how many bytes it took; None when it is not all there."""
    if status < 200 or status in _NO_BODY:
        return b"", 0
    if headers.get("transfer-encoding") == "chunked":
        return _chunks(rest)
    length = int(headers.get("content-length", "0"))
    return (rest[:length], length) if len(rest) >= length else None


def _chunks(rest: bytes) -> tuple[bytes, int] | None:
    body, at = b"", 0
    while (end := rest.find(b"\r\n", at)) >= 0:
        size = int(rest[at:end], 16)
        start = end + 2
        if len(rest) < start + size + 2:
            return None
        body += rest[start : start + size]
        at = start + size + 2
        if size == 0:
            return body, at
    return None
