"""One topic: what is published to it is told to its subscribers; nobody takes it away."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from nuska.client.connection import Answer, Connection
from nuska.client.dead_letters import DeadLetters
from nuska.client.paging import Link, Listing, Page
from nuska.client.queues import Queue
from nuska.client.records import Landmark, Message, Metadata, NewMessage, QueueEntry
from nuska.client.subscriptions import Subscriptions


class TopicStats(Struct, frozen=True, kw_only=True):
    """How much a topic holds."""

    total: int
    oldest: Landmark | None = None
    newest: Landmark | None = None


class _Stats(Struct, frozen=True):
    messages: TopicStats


class _Topics(Struct, frozen=True):
    topics: list[QueueEntry]
    links: list[Link] = []


class Topic:
    """Made by ``Client.topic``; nothing is asked until a call. See ``Queue`` for calls of the
    same name."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._queue = Queue(connection, name, collection="topics")
        self.name = name

    @property
    def subscriptions(self) -> Subscriptions:
        return self._queue.subscriptions

    @property
    def dead_letters(self) -> DeadLetters:
        return self._queue.dead_letters

    async def create(self, metadata: Mapping[str, Any] | None = None) -> bool:
        return await self._queue.create(metadata)

    async def exists(self) -> bool:
        return await self._queue.exists()

    async def metadata(self) -> Metadata:
        return await self._queue.metadata()

    async def update(
        self, changes: Mapping[str, Any] | None = None, *, remove: Iterable[str] = ()
    ) -> Metadata:
        return await self._queue.update(changes, remove=remove)

    async def delete(self) -> None:
        await self._queue.delete()

    async def stats(self) -> TopicStats:
        href = f"{self._queue.href}/stats"
        return (await self._connection.call("GET", href)).read(_Stats).messages

    async def purge(self) -> None:
        """Delete everything that was published; subscriptions stay."""
        await self._queue.purge()

    async def publish(
        self, body: Any, *, ttl: int | None = None, attributes: dict[str, Any] | None = None
    ) -> str:
        """Tell every subscriber; returns the message's id. It is stored when this returns."""
        return await self._queue.post(body, ttl=ttl, attributes=attributes)

    async def publish_many(self, messages: Iterable[NewMessage]) -> list[str]:
        """All in one request, in this order, or none."""
        return await self._queue.post_many(messages)

    def messages(
        self, *, attributes: bool = False, page: int | None = None, marker: str | None = None
    ) -> Listing[Message]:
        """What was published and has not expired, oldest first."""
        return self._queue.messages(attributes=attributes, page=page, marker=marker)

    def __repr__(self) -> str:
        return f"<Topic {self.name}>"


def topic_page(answer: Answer) -> Page[QueueEntry]:
    """One page of a list of topics."""
    page = answer.read(_Topics)
    return page.topics, page.links
