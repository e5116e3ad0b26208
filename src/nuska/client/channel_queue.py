"""A queue whose frequent calls go over one WebSocket connection, many at once.

What programs do thousands of times a second goes that way: posts, listings, claims, renewals,
deletes and pops. Everything else goes over HTTP as with any ``Queue``; what a call means, and
what it raises, is the same either way.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Struct

from nuska.client.address import Query
from nuska.client.channel import Channel
from nuska.client.claiming import ClaimCalls, Terms
from nuska.client.claims import CLAIM_TTL
from nuska.client.connection import Connection
from nuska.client.encoding import EncodedMessage
from nuska.client.frames import Frame, encode_body
from nuska.client.messages import IDS_PER_CALL, POST_MEMORY
from nuska.client.paging import Link, Listing, Page
from nuska.client.queues import Queue
from nuska.client.records import Claim, Message
from nuska.client.retries import Repeat


class _Posted(Struct, frozen=True):
    message_ids: list[str]


class _Messages(Struct, frozen=True):
    messages: list[Message]


class _One(Struct, frozen=True):
    messages: Message
    """A single one, in spite of its name."""


class _Claimed(Struct, frozen=True):
    claim_id: str | None
    messages: list[Message] = []


class _ClaimedTogether(Struct, frozen=True):
    claims: list[_Claimed]


class _ClaimShown(Struct, frozen=True):
    ttl: int
    age: int
    messages: list[Message]


class _Page(Struct, frozen=True):
    messages: list[Message]
    marker: str | None = None


class _Pages:
    """The pages of a listing, asked for over the channel; where a page begins is its marker."""

    def __init__(self, channel: Channel, terms: Mapping[str, Any]) -> None:
        self._channel = channel
        self._terms = terms
        self.timing = channel.timing
        self.timeout = channel.timeout

    async def call(
        self,
        _method: str,
        href: str,
        /,
        *,
        query: Query,
        timeout: float,  # noqa: ASYNC109  a call's budget
    ) -> Frame:
        body = encode_body(**self._terms, **query, marker=href or None)
        return await self._channel.call("message_list", body, timeout=timeout)


def _page(reply: Frame) -> Page[Message]:
    page = reply.read(_Page)
    return page.messages, [Link(page.marker, "next")] if page.marker else []


class ChannelQueue(Queue):
    """Made by ``Client.queue`` of a client with ``transport="websocket"``."""

    def __init__(self, connection: Connection, name: str, channel: Channel) -> None:
        super().__init__(connection, name)
        self._channel = channel
        self._head = b'{"queue_name":%b,"messages":[' % msgspec.json.encode(name)

    async def post_encoded(
        self, messages: Sequence[EncodedMessage], *, key: str | None = None
    ) -> list[str]:
        if key is None and self._channel.caller.may_merge:
            return await self._channel.merger(self.name, self._post).post(messages)
        return await self._post(messages, key)

    async def _post(self, messages: Sequence[EncodedMessage], key: str | None = None) -> list[str]:
        reply = await self._channel.call(
            "message_post",
            b"%b%b]}" % (self._head, b",".join(messages)),
            headers=self._channel.caller.keyed(key or uuid4().hex),
            timeout=min(self._channel.timeout, POST_MEMORY),
        )
        return reply.read(_Posted).message_ids

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
        terms = {
            "queue_name": self.name,
            "echo": echo,
            "include_claimed": include_claimed,
            "include_delayed": include_delayed,
            "attributes": attributes,
            "limit": page,
        }
        return Listing(
            _Pages(self._channel, terms), marker or "", {}, _page, wait=wait, follow=follow
        )

    async def message(self, message_id: str, *, attributes: bool = False) -> Message:
        body = self._body(message_id=message_id, attributes=attributes or None)
        return (await self._channel.call("message_get", body)).read(_One).messages

    async def delete_message(self, message_id: str, *, claim_id: str | None = None) -> None:
        body = self._body(message_id=message_id, claim_id=claim_id)
        await self._channel.call("message_delete", body)

    async def delete_messages(
        self, message_ids: Iterable[str], *, claim_ids: Iterable[str] = ()
    ) -> None:
        ids, claims = list(message_ids), list(claim_ids) or None
        for start in range(0, len(ids), IDS_PER_CALL):
            part = ids[start : start + IDS_PER_CALL]
            body = self._body(message_ids=part, claim_ids=claims)
            await self._channel.call("message_delete_many", body)

    async def pop(
        self, limit: int = 1, *, wait: int = 0, attributes: bool = False
    ) -> list[Message]:
        reply = await self._channel.call(
            "message_delete_many",
            self._body(pop=limit, wait=wait or None, attributes=attributes or None),
            repeat=Repeat.HARMFUL,
            timeout=self._channel.timeout + wait,
        )
        return reply.read(_Messages).messages

    async def create_claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> Claim | None:
        terms = Terms(limit, ttl, grace, attributes)
        if not wait and self._channel.caller.may_merge:
            calls = ClaimCalls(self._create_claims, self.release_claim)
            return await self._channel.claim_merger(self.name, calls).claim(terms)
        reply = await self._channel.call(
            "claim_create",
            self._body(**_asked(terms), wait=wait or None),
            repeat=Repeat.HARMFUL,
            timeout=self._channel.timeout + wait,
        )
        claimed = reply.read(_Claimed)
        if claimed.claim_id is None or not claimed.messages:
            return None
        return Claim(id=claimed.claim_id, ttl=ttl, age=0, messages=claimed.messages)

    async def _create_claims(self, terms: Terms, count: int) -> list[Claim]:
        reply = await self._channel.call(
            "claim_create", self._body(**_asked(terms), claims=count), repeat=Repeat.HARMFUL
        )
        return [
            Claim(id=claimed.claim_id, ttl=terms.ttl, age=0, messages=claimed.messages)
            for claimed in reply.read(_ClaimedTogether).claims
            if claimed.claim_id is not None and claimed.messages
        ]

    async def show_claim(self, claim_id: str, *, attributes: bool = False) -> Claim:
        body = self._body(claim_id=claim_id, attributes=attributes or None)
        shown = (await self._channel.call("claim_get", body)).read(_ClaimShown)
        return Claim(id=claim_id, ttl=shown.ttl, age=shown.age, messages=shown.messages)

    async def renew_claim(
        self, claim_id: str, *, ttl: int = CLAIM_TTL, grace: int | None = None
    ) -> None:
        body = self._body(claim_id=claim_id, ttl=ttl, grace=grace)
        await self._channel.call("claim_update", body)

    async def release_claim(
        self,
        claim_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  a call's budget
    ) -> None:
        body = self._body(claim_id=claim_id)
        await self._channel.call("claim_delete", body, timeout=timeout)

    def _body(self, **values: Any) -> bytes:
        return encode_body(queue_name=self.name, **values)


def _asked(terms: Terms) -> dict[str, Any]:
    """Terms of a claim as a request has them."""
    return {
        "limit": terms.limit,
        "ttl": terms.ttl,
        "grace": terms.grace,
        "attributes": terms.attributes or None,
    }
