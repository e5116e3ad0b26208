"""One answer that does not end: events for one client, as they come.

Knows nothing of requests. What waits for the client is bounded: beyond that nothing more is taken
until it has read, and the announcement log is what keeps the rest. A client that reads nothing is
dropped by the server below, like any other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from nuska.core.live import Announced, Ending, Gap, Listening
from nuska.domain.messages import QueueRef
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import RandomBytes
from nuska.transport.wire import events as wire

PIECE = 65_536
"""Bytes handed to the server at once, about."""
RETRY_AFTER = (1_000, 3_000)
RETRY_AFTER_STOP = (500, 8_000)
"""Milliseconds, between which each client's own are chosen: not all come back at once."""

StillGood = Callable[[], Awaitable[bool | None]]
"""Whether the client may go on listening; None: nobody can say, so that it is told nothing until
somebody can."""


class EventStream:
    """A ``Receiver``, and what the web framework iterates over."""

    def __init__(
        self,
        queue: QueueRef,
        clock: Clock,
        random_bytes: RandomBytes,
        *,
        attributes: bool,
        most: int,
        heartbeat: float,
        until_gone: Callable[[], Awaitable[None]],
        still_good: StillGood,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._random_bytes = random_bytes
        self._attributes = attributes
        self._most = most
        self._heartbeat = heartbeat
        self._until_gone = until_gone
        self._still_good = still_good
        self._listening: Listening | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._outbox: list[bytes] = []
        self._waiting = 0
        """Bytes in the outbox."""
        self._told = ""
        """The marker that the client was told last."""
        self._ended = False
        self._doubted = False
        """Nobody could say whether the client may go on."""
        self._asked_at = self._loop_time()
        """When it was asked last whether what the client has shown is good."""
        self._news = asyncio.Event()

    def begin(self, listening: Listening) -> None:
        """The first event is the marker from which on it is told."""
        self._listening = listening
        self._told = str(listening.marker(self._queue))
        self._put(wire.encode_retry(self._between(*RETRY_AFTER)) + wire.encode_marker(self._told))
        self._watcher = asyncio.create_task(self._watch(), name="a stream's client")
        listening.go_on()

    # For who reads the queue

    def take(self, batch: Sequence[Announced]) -> None:
        how = ("events", self._attributes)
        for item in batch:
            self._put(item.encoded(how, self._encode))
        self._told = str(batch[-1].marker)
        if self._waiting > self._most and self._listening is not None:
            self._listening.hold()

    def gap(self, gap: Gap) -> None:
        self._put(wire.encode_gap(gap))
        self._told = str(gap.marker)

    def end(self, ending: Ending) -> None:
        if ending is Ending.STOPPING:
            self._put(wire.encode_retry(self._between(*RETRY_AFTER_STOP)))
            self._say_goodbye("stopping", "The server stops. Come back: nothing is lost.")
        else:
            self._say_goodbye("failed", "The stream cannot go on. Come back.")

    # For who writes the answer

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> bytes:
        while not self._outbox or self._doubted:
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            if self._listening is not None and not self._doubted:
                self._listening.go_on()
            try:
                async with asyncio.timeout(self._heartbeat):
                    await self._news.wait()
            except TimeoutError:
                await self._give_sign_of_life()
                if self._doubted:
                    return wire.HEARTBEAT
        if not self._ended and self._loop_time() >= self._asked_at + self._heartbeat:
            await self._ask_whether_good()
        return wire.HEARTBEAT if self._doubted else self._next_piece()

    async def close(self) -> None:
        """The answer has ended, one way or the other."""
        self._ended = True
        if self._listening is not None:
            self._listening.close()
        if self._watcher is not None:
            self._watcher.cancel()

    # How it is done

    def _encode(self, item: Announced) -> bytes:
        return wire.encode_announced(item, self._clock.now(), attributes=self._attributes)

    def _put(self, event: bytes) -> None:
        self._outbox.append(event)
        self._waiting += len(event)
        self._news.set()

    def _next_piece(self) -> bytes:
        size = number = 0
        for event in self._outbox:
            size += len(event)
            number += 1
            if size >= PIECE:
                break
        piece = b"".join(self._outbox[:number])
        del self._outbox[:number]
        self._waiting -= size
        return piece

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()

    async def _ask_whether_good(self) -> bool:
        """Once in a heartbeat, whatever there is to tell; what was not told yet waits while that
        is in doubt, and is not told when the answer is no."""
        self._asked_at = self._loop_time()
        good = await self._still_good()
        self._doubted = good is None and not self._ended
        if good:
            return True
        if good is None:
            if self._listening is not None:
                self._listening.hold()
            return False
        self._outbox.clear()
        self._waiting = 0
        self._say_goodbye("expired", "What you have shown is not good any more.")
        return False

    async def _give_sign_of_life(self) -> None:
        if not await self._ask_whether_good():
            return
        if self._listening is None or self._listening.closed:
            return
        marker = str(self._listening.marker(self._queue))
        moved, self._told = marker != self._told, marker
        self._put(wire.encode_marker(marker) if moved else wire.HEARTBEAT)

    def _say_goodbye(self, reason: str, sentence: str) -> None:
        if not self._ended:
            self._put(wire.encode_notice(reason, sentence))
            self._ended = True
        if self._listening is not None:
            self._listening.close()

    async def _watch(self) -> None:
        """The client has gone: end, whatever still waits for it."""
        with suppress(asyncio.CancelledError):
            await self._until_gone()
            self._outbox.clear()
            self._ended = True
            self._news.set()

    def _between(self, least: int, most: int) -> int:
        return least + int.from_bytes(self._random_bytes(4)) % (most - least + 1)
