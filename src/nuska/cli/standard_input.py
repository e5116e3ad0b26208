"""Standard input, or a file, line by line, without holding up the event loop and without reading
ahead far.

A thread reads, because a terminal, a pipe and a file have nothing else in common. It is a
daemon: a command that is interrupted does not wait for input that never comes.
"""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import AsyncIterator

CHUNK = 65_536
"""Bytes read at once: what a pipe holds."""
CHUNKS_AHEAD = 8
"""Chunks that may wait to be used; the reader stops until one is taken."""
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes; far more than any message may have."""


class Unreadable(ValueError):
    """The input cannot be read, or not as lines."""


def standard_input() -> int:
    """The descriptor of standard input."""
    if sys.stdin is None:  # how Python says that it was closed from the beginning
        raise Unreadable("standard input is closed")
    return sys.stdin.fileno()


def invite(what: str) -> None:
    """Say what is waited for, if it is somebody at a terminal who would have to guess."""
    if sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write(f"{what}\n")


class Lines:
    """``async for number, line, more in Lines()``: ``more`` tells whether another line is there."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = standard_input() if descriptor is None else descriptor
        self._arrived: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self.consumed = 0
        """Bytes used so far."""

    @property
    def size(self) -> int | None:
        """Bytes in all, where that is known beforehand."""
        status = os.fstat(self._descriptor)
        return status.st_size if stat.S_ISREG(status.st_mode) and status.st_size else None

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes, bool]]:
        number = 0
        rest = b""
        async for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n") if chunk else (rest, b"")
            if len(rest) > LONGEST_LINE:
                raise Unreadable(f"line {number + 1} is longer than {LONGEST_LINE} bytes")
            if not chunk and not lines[0]:
                return  # the last line had its end
            for index, line in enumerate(lines, start=1):
                number += 1
                self.consumed += len(line) + 1
                more = index < len(lines) or not self._arrived.empty()
                yield number, line.removesuffix(b"\r"), more

    async def _chunks(self) -> AsyncIterator[bytes]:
        """What is read, as it comes; an empty chunk is the end."""
        room = threading.Semaphore(CHUNKS_AHEAD)
        loop = asyncio.get_running_loop()

        def read() -> None:
            chunk: bytes | OSError = b"-"
            while chunk and not isinstance(chunk, OSError):
                room.acquire()
                try:
                    chunk = os.read(self._descriptor, CHUNK)
                except OSError as error:
                    chunk = error
                try:
                    loop.call_soon_threadsafe(self._arrived.put_nowait, chunk)
                except RuntimeError:
                    return  # the loop has ended before the input

        threading.Thread(target=read, name="standard input", daemon=True).start()
        while True:
            chunk = await self._arrived.get()
            room.release()
            if isinstance(chunk, OSError):
                raise Unreadable(f"the input cannot be read: {chunk.strerror}")
            yield chunk
            if not chunk:
                return
