"""A proxy between a store and its engine that is slow, falls silent, or cuts connections.

It carries bytes and knows no protocol; what one ``read`` of a socket gives is one message to
it, which is exact for engines that are asked, and answer, one thing at a time. Refuses to
change a byte: a network loses and delays, it does not lie.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

Direction = Literal["request", "answer"]

HOST = "127.0.0.1"
CHUNK = 65_536


class FaultProxy:
    """Listens on ``port``, and passes on to another port until told otherwise."""

    def __init__(self, to: int) -> None:
        self.port = 0
        self.delay = 0.0
        """Seconds that everything takes in each direction, beyond what it takes anyway."""
        self.has_cut = False
        """Something was lost since the last ``lose``."""
        self._to = to
        self._losing: Direction | None = None
        self._spared = 0
        self._refuses = False
        self._may_pass = asyncio.Event()
        self._may_pass.set()
        self._carriers: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> int:
        """End every connection at once; new ones are fine. How many ends there were."""
        for writer in self._writers:
            writer.transport.abort()
        return len(self._writers)

    def refuse(self) -> None:
        """End every connection, and every new one too, until ``accept``."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        self._refuses = False

    def hold(self) -> None:
        """Fall silent: connections stay open, and nothing passes until ``let_pass``."""
        self._may_pass.clear()

    def let_pass(self) -> None:
        self._may_pass.set()

    def lose(self, direction: Direction, after: int = 0) -> None:
        """Of what goes this way let ``after`` messages pass, then cut all connections instead
        of passing on the next. A lost request was never made; one whose answer is lost was."""
        self._losing, self._spared, self.has_cut = direction, after, False

    def lose_nothing(self) -> None:
        self._losing = None

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.let_pass()
        self.refuse()
        for carrier in self._carriers:
            carrier.cancel()
        await asyncio.gather(*self._carriers, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._carriers.add(task)
        self._writers.add(writer)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # cut, or closed with the proxy
        finally:
            self._carriers.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(HOST, self._to)
        self._writers.add(to_there)
        ways = [
            asyncio.create_task(self._carry("request", reader, to_there)),
            asyncio.create_task(self._carry("answer", there, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            self._writers.discard(to_there)
            to_there.transport.abort()

    async def _carry(
        self, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(CHUNK):
                await self._may_pass.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self._is_lost(direction):
                    self.cut()
                    return
                writer.write(chunk)
                await writer.drain()

    def _is_lost(self, direction: Direction) -> bool:
        if direction != self._losing:
            return False
        if self._spared:
            self._spared -= 1
            return False
        self._losing, self.has_cut = None, True
        return True


@asynccontextmanager
async def fault_proxy(to: int) -> AsyncIterator[FaultProxy]:
    """A proxy to that port of this machine, in the running event loop."""
    proxy = FaultProxy(to)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
