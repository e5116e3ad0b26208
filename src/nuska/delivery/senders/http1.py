"""One connection to a subscriber that speaks HTTP/1.1: a request goes out, an answer comes in.

Made for many small requests. All that is kept of an answer is its status and when to come again;
what follows the head is read only so that the connection can be used for the next request, to a
limit and for a moment. Redirects, cookies, encodings and proxies do not exist here, and whom to
connect to is decided elsewhere.
"""

import asyncio
from typing import cast

import httptools
from msgspec import Struct

MAX_HEAD = 32_768
"""Bytes of an answer before its head ends."""
MAX_ANSWER = 65_536
"""Bytes of an answer that are read, so that the connection can be used again."""
ANSWER_PATIENCE = 1.0
"""Seconds for which they are waited for: what was decided stands in the head."""
FINAL = 200
SWITCHING = 101
"""The one answer below ``FINAL`` that is not followed by another."""


class CallFailed(Exception):
    """There is no answer. The argument says why, in words that repeat nothing of a URL and
    nothing that a subscriber has said."""


class Answer(Struct, frozen=True, gc=False):
    status: int
    retry_after: str | None
    at: float
    """When the whole head was there, of the loop's time."""


class HttpConnection(asyncio.Protocol):
    """One exchange at a time. After whatever leaves its state in doubt it is ``usable`` no more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._future: asyncio.Future[Answer | None] | None = None
        """Of the exchange under way."""
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._arrived = 0
        """Bytes of the answer."""
        self._retry_after: bytes | None = None
        self._answer: Answer | None = None
        self._complete = False
        self.usable = True
        """Another exchange may follow."""
        self.idle_since = 0.0

    async def exchange(self, request: bytes, *, deadline: float) -> Answer | None:
        """The answer to the request; None when there was none before ``deadline``, of the loop's
        time. Raises ``CallFailed``."""
        transport = self._transport
        assert transport is not None, "connected"
        self._arrived = 0
        self._answer = None
        self._complete = False
        self._deadline = deadline
        future: asyncio.Future[Answer | None] = self._loop.create_future()
        self._future = future
        self._timer = self._loop.call_at(deadline, self._out_of_time)
        transport.write(request)
        try:
            return await future
        finally:
            self._timer.cancel()
            self._future = None
            if self.usable and (future.cancelled() or transport.get_write_buffer_size()):
                self.usable = False  # given up, or answered before everything was heard
            if not self.usable:
                transport.abort()

    def close(self) -> None:
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class

    def connection_lost(self, _: Exception | None) -> None:
        self.usable = False
        del self._parser  # each has the other: nobody should have to look for that
        self._end("The subscriber closed the connection before it had answered.")

    def data_received(self, data: bytes) -> None:
        if self._future is None:  # nothing was asked
            self.close()
            return
        had_head = self._answer is not None
        self._arrived += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.usable = False
        if self._complete or not self.usable:
            self._end("The subscriber's answer is not HTTP.")
        elif self._arrived > (MAX_HEAD if self._answer is None else MAX_ANSWER):
            self.usable = False
            self._end("The subscriber's answer is not HTTP: its head does not end.")
        elif self._answer is not None and not had_head:
            self._wait_for_the_rest()

    # What the parser calls

    def on_message_begin(self) -> None:
        self._retry_after = None
        if self._complete:  # more than was asked for
            self.usable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == len(b"retry-after") and name.lower() == b"retry-after":
            self._retry_after = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._answer is None and (status >= FINAL or status == SWITCHING):
            after = None if self._retry_after is None else self._retry_after.decode("latin-1")
            self._answer = Answer(status, after, self._loop.time())

    def on_message_complete(self) -> None:
        if self._answer is not None and not self._complete:
            self._complete = True
            self.usable &= self._parser.should_keep_alive()

    # The end of an exchange

    def _end(self, problem: str) -> None:
        """There is an answer, or, if there is none, a problem."""
        future = self._future
        if future is None or future.done():
            return
        if self._answer is not None:
            future.set_result(self._answer)
        else:
            future.set_exception(CallFailed(problem))

    def _wait_for_the_rest(self) -> None:
        assert self._timer is not None, "an exchange is under way"
        self._timer.cancel()
        until = min(self._deadline, self._loop.time() + ANSWER_PATIENCE)
        self._timer = self._loop.call_at(until, self._out_of_time)

    def _out_of_time(self) -> None:
        self.usable = False
        if self._future is not None and not self._future.done():
            self._future.set_result(self._answer)
