"""What can be done with the messages of a queue."""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any
from uuid import uuid4

from msgspec import Struct

from nuska.client.address import Query, segment
from nuska.client.connection import Answer, Connection
from nuska.client.encoding import (
    MESSAGES_PER_POST,
    POST_SIZE,
    EncodedMessage,
    batches,
    encode_message,
    post_document,
)
from nuska.client.paging import Link, Listing, Page
from nuska.client.persistence import Timing
from nuska.client.records import Message, Metadata, NewMessage, RawMessage
from nuska.client.retries import Repeat

IDS_PER_CALL = 20
"""Messages that one call can name, as the server counts by default."""
POST_MEMORY = 540.0
"""Seconds for which a post is repeated at most: less than the ten minutes for which the
server knows its key again."""


class _Posted(Struct, frozen=True):
    resources: list[str]


class _Messages(Struct, frozen=True):
    messages: list[Message]
    links: list[Link] = []


class _RawMessages(Struct, frozen=True):
    messages: list[RawMessage]
    links: list[Link] = []


class QueueMessages:
    """The messages of one queue. Made by ``Client.queue``; nothing is asked until a call."""

    def __init__(self, connection: Connection, name: str, *, collection: str = "queues") -> None:
        self._connection = connection
        self.name = name
        self._href = f"/v2/{collection}/{segment(name)}"

    @property
    def href(self) -> str:
        """Its path on the server."""
        return self._href

    @property
    def timing(self) -> Timing:
        """Time and chance, as this queue's client sees them."""
        return self._connection.timing

    async def post(
        self,
        body: Any,
        *,
        ttl: int | None = None,
        delay: int | None = None,
        attributes: dict[str, Any] | None = None,
        key: str | None = None,
    ) -> str:
        """Post one message; returns its id. When this returns, the message is stored.

        ``key`` is the ``Idempotency-Key``, for who may come again with the same post: the
        message is stored once.
        """
        message = NewMessage(body=body, ttl=ttl, delay=delay, attributes=attributes)
        return (await self.post_many([message], key=key))[0]

    async def post_many(
        self, messages: Iterable[NewMessage], *, key: str | None = None
    ) -> list[str]:
        """Post messages in one request: all are stored, or none. Returns their ids in order."""
        return await self.post_encoded([encode_message(message) for message in messages], key=key)

    async def post_encoded(
        self, messages: Sequence[EncodedMessage], *, key: str | None = None
    ) -> list[str]:
        """``post_many`` for messages that are JSON text already."""
        answer = await self._connection.call(
            "POST",
            f"{self._href}/messages",
            body=post_document(messages),
            # The same key on every attempt: the server stores the messages once.
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": key or uuid4().hex,
            },
            timeout=min(self._connection.timeout, POST_MEMORY),
        )
        return [href.rpartition("/")[2] for href in answer.read(_Posted).resources]

    async def post_in_batches(
        self, messages: Iterable[NewMessage], *, count: int = MESSAGES_PER_POST
    ) -> AsyncIterator[list[str]]:
        """Post any number of messages, in order; gives the ids of each batch once it is stored.

        Batches have at most ``count`` messages and at most the bytes the queue takes at once.
        """
        for batch in batches(messages, count=count, size=await self.max_post_size()):
            yield await self.post_encoded(batch)

    async def max_post_size(self) -> int:
        """Bytes this queue takes in one post."""
        answer = await self._connection.call("GET", self._href)
        size = answer.read(Metadata).get("_max_messages_post_size")
        return size if isinstance(size, int) else POST_SIZE

    def messages(
        self,
        *,
        echo: bool = True,
        include_claimed: bool = False,
        include_delayed: bool = False,
        attributes: bool = False,
        page: int | None = None,
        marker: str | None = None,
        wait: int = 0,
        follow: bool = False,
    ) -> Listing[Message]:
        """The messages, oldest first: ``async for message in queue.messages()``.

        ``echo=False`` leaves out what this client posted. ``marker`` is the id of a message
        to start after. ``page`` is how many come with one request; ``wait`` seconds are spent
        in the server on a page that would be empty; ``follow`` goes on for ever.
        """
        return Listing(
            self._connection,
            f"{self._href}/messages",
            {
                "echo": echo,
                "include_claimed": include_claimed or None,
                "include_delayed": include_delayed or None,
                "attributes": attributes or None,
                "limit": page,
                "marker": marker,
            },
            _message_page,
            wait=wait,
            follow=follow,
        )

    def everything(self, *, page: int) -> Listing[RawMessage]:
        """All messages there are, claimed and delayed ones too, oldest first, as JSON text."""
        query: Query = {"echo": True, "include_claimed": True, "include_delayed": True}
        query |= {"attributes": True, "limit": page}
        return Listing(self._connection, f"{self._href}/messages", query, _raw_page)

    async def message(self, message_id: str, *, attributes: bool = False) -> Message:
        """One message, claimed and delayed ones too; ``NotFound`` when there is none."""
        answer = await self._connection.call(
            "GET",
            f"{self._href}/messages/{segment(message_id)}",
            query={"attributes": attributes or None},
        )
        return answer.read(Message)

    async def delete_message(self, message_id: str, *, claim_id: str | None = None) -> None:
        """Delete one message; it need not exist. A claimed one needs the id of its claim."""
        await self._connection.call(
            "DELETE",
            f"{self._href}/messages/{segment(message_id)}",
            query={"claim_id": claim_id},
        )

    async def delete_messages(
        self, message_ids: Iterable[str], *, claim_ids: Iterable[str] = ()
    ) -> None:
        """Delete messages, claimed ones too; they need not exist.

        A server that wants to see the claims of claimed ones takes them in ``claim_ids``.
        """
        ids, claims = list(message_ids), ",".join(claim_ids)
        for start in range(0, len(ids), IDS_PER_CALL):
            await self._connection.call(
                "DELETE",
                f"{self._href}/messages",
                query={
                    "ids": ",".join(ids[start : start + IDS_PER_CALL]),
                    "claim_ids": claims or None,
                },
            )

    async def pop(
        self, limit: int = 1, *, wait: int = 0, attributes: bool = False
    ) -> list[Message]:
        """Take up to ``limit`` messages out of the queue at once, waiting for the first.

        A popped message exists nowhere but here. If the connection breaks while the answer is
        on its way, what was popped is lost; use a claim where that matters.
        """
        answer = await self._connection.call(
            "DELETE",
            f"{self._href}/messages",
            query={"pop": limit, "wait": wait or None, "attributes": attributes or None},
            repeat=Repeat.HARMFUL,
            timeout=self._connection.timeout + wait,
        )
        return answer.read(_Messages).messages


def _raw_page(answer: Answer) -> Page[RawMessage]:
    page = answer.read(_RawMessages)
    return page.messages, page.links


def _message_page(answer: Answer) -> Page[Message]:
    page = answer.read(_Messages)
    return page.messages, page.links
