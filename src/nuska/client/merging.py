"""Posts to one queue that come while others are under way go together, in one request.

As a store commits in groups: far more messages a second, in the order of the calls within a
request. Two requests are under way side by side: whose order matters waits for the answer of the
one before. Nobody else can tell: each call has its own ids or its own error, because a request
that is refused is taken apart, and each post judged by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from nuska.client.encoding import MESSAGES_PER_POST, POST_SIZE, EncodedMessage
from nuska.client.errors import ErrorAnswer
from nuska.client.gathering import Gatherer, fail

FRAME = 1024
"""Bytes of a request that are not messages, roughly."""

Messages = Sequence[EncodedMessage]
Send = Callable[[Messages], Awaitable[list[str]]]
Waiting = tuple[Messages, asyncio.Future[list[str]]]


class Merger(Gatherer[Messages, list[str]]):
    """The posts of one client to one queue. ``send`` stores all it is given, or nothing."""

    def __init__(self, send: Send, timeout: float) -> None:
        """``timeout``: seconds for a post, from its call on; ``send`` holds to as many."""
        super().__init__(
            timeout, late="The post was not stored in time.", cut_off="The post was cut off."
        )
        self._send = send
        self._most, self._size = MESSAGES_PER_POST, POST_SIZE - FRAME
        """Messages and bytes that go together; the queue may turn out to take less."""

    async def post(self, messages: Messages) -> list[str]:
        """The ids of ``messages``, once they are stored."""
        return await self._ask(messages)

    def _beginning(self) -> Callable[[Messages], bool]:
        """As many go as one request may have."""
        count = size = 0

        def goes_too(messages: Messages) -> bool:
            nonlocal count, size
            count += len(messages)
            size += sum(map(len, messages)) + len(messages)
            return count <= self._most and size <= self._size

        return goes_too

    async def _carry_out(self, batch: list[Waiting]) -> None:
        together = [message for messages, _ in batch for message in messages]
        try:
            ids = await self._send(together)
        except ErrorAnswer as error:
            if len(batch) > 1 and error.status < 500:
                await self._send_apart(batch, together)
            else:
                fail(batch, error)
        except Exception as error:
            fail(batch, error)
        else:
            at = 0
            for messages, answer in batch:
                own = ids[at : at + len(messages)]
                at += len(messages)
                if not answer.done():
                    answer.set_result(own)

    async def _send_apart(self, batch: list[Waiting], together: Messages) -> None:
        """One of them is at fault, or they were too much together."""
        failed = False
        for messages, answer in batch:
            try:
                ids = await self._send(messages)
            except Exception as error:
                failed = True
                fail([(messages, answer)], error)
            else:
                if not answer.done():
                    answer.set_result(ids)
        if not failed:
            self._most = max(1, len(together) // 2)
            self._size = sum(map(len, together)) // 2
