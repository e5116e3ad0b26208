"""A queue whose frequent calls go over HTTP while they are few, and over one WebSocket connection
while many are under way at once.

Nothing waits for that connection: until it is open, and when there can be none, calls go over HTTP.
What a call means, and what it raises, is the same either way.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from nuska.client.channel import Channel
from nuska.client.channel_queue import ChannelQueue
from nuska.client.connection import Connection
from nuska.client.errors import ClientError
from nuska.client.paging import Listing
from nuska.client.queues import Queue
from nuska.client.records import Message

MANY = 8
"""Calls under way at once from which on a connection of their own is worth it."""
CALM_AFTER = 10.0
"""Seconds after the last such moment."""
TRIED_AGAIN_AFTER = 60.0
"""Seconds after a connection could not be opened: a proxy may let none through."""

P = ParamSpec("P")
T = TypeVar("T")


class Rush:
    """How much one client has under way, and which way the next call goes."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self._clock = channel.timing.clock
        self._under_way = 0
        self._calm_at = float("-inf")
        self._try_at = float("-inf")
        self._opening: asyncio.Task[None] | None = None

    def begins(self) -> bool:
        """One more call is under way; whether it goes over the channel."""
        self._under_way += 1
        return self.is_on

    def ends(self) -> None:
        self._under_way -= 1

    @property
    def is_on(self) -> bool:
        """Whether there is a rush, and a connection for it."""
        now = self._clock()
        if self._under_way >= MANY:
            self._calm_at = now + CALM_AFTER
        if now >= self._calm_at:
            return False
        if not self.channel.is_open and self._opening is None and now >= self._try_at:
            self._opening = asyncio.create_task(self._open(), name="open the WebSocket in time")
        return self.channel.is_open

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])

    async def _open(self) -> None:
        try:
            await self.channel.prepare()
        except ClientError:
            self._try_at = self._clock() + TRIED_AGAIN_AFTER
        finally:
            self._opening = None


def _whichever(
    over_http: Callable[Concatenate[Queue, P], Awaitable[T]],
    over_channel: Callable[Concatenate[ChannelQueue, P], Awaitable[T]],
) -> Callable[Concatenate["RushingQueue", P], Coroutine[Any, Any, T]]:
    @wraps(over_http)
    async def call(queue: "RushingQueue", /, *args: P.args, **kwargs: P.kwargs) -> T:
        rush = queue.rush
        try:
            if rush.begins():
                return await over_channel(queue, *args, **kwargs)
            return await over_http(queue, *args, **kwargs)
        finally:
            rush.ends()

    return call


class RushingQueue(ChannelQueue):
    """Made by ``Client.queue`` of a client with ``transport="auto"``."""

    def __init__(self, connection: Connection, name: str, rush: Rush) -> None:
        super().__init__(connection, name, rush.channel)
        self.rush = rush

    def messages(self, *args: Any, **terms: Any) -> Listing[Message]:
        """Decided once for the whole listing: where a page begins is said in another way."""
        kind = ChannelQueue if self.rush.is_on else Queue
        return kind.messages(self, *args, **terms)

    post_encoded = _whichever(Queue.post_encoded, ChannelQueue.post_encoded)
    message = _whichever(Queue.message, ChannelQueue.message)
    delete_message = _whichever(Queue.delete_message, ChannelQueue.delete_message)
    delete_messages = _whichever(Queue.delete_messages, ChannelQueue.delete_messages)
    pop = _whichever(Queue.pop, ChannelQueue.pop)
    create_claim = _whichever(Queue.create_claim, ChannelQueue.create_claim)
    show_claim = _whichever(Queue.show_claim, ChannelQueue.show_claim)
    renew_claim = _whichever(Queue.renew_claim, ChannelQueue.renew_claim)
    release_claim = _whichever(Queue.release_claim, ChannelQueue.release_claim)
