"""A queue by its name: its life, metadata and statistics."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from nuska.client.claims import CLAIM_TTL, QueueClaims
from nuska.client.connection import Answer
from nuska.client.dead_letters import DeadLetters
from nuska.client.encoding import encode_json
from nuska.client.errors import NotFound
from nuska.client.held import HeldClaim
from nuska.client.paging import Link, Page
from nuska.client.pools import Carriage, Whereabouts, moved, start_move, whereabouts
from nuska.client.records import Metadata, QueueEntry, Stats
from nuska.client.retries import Repeat
from nuska.client.signed_urls import SignedUrls
from nuska.client.subscriptions import Subscriptions

PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"
"""The only media type in which the server takes changes of metadata."""


class _Stats(Struct, frozen=True):
    messages: Stats


class _Queues(Struct, frozen=True):
    queues: list[QueueEntry]
    links: list[Link] = []


class Queue(QueueClaims):
    """One queue, its messages and claims. It need not exist: it comes to be with the first post."""

    @property
    def subscriptions(self) -> Subscriptions:
        """Whom the queue tells of what is posted."""
        return Subscriptions(self._connection, self._href)

    @property
    def signed_urls(self) -> SignedUrls:
        """What lets others do something with the queue, and nothing else."""
        return SignedUrls(self._connection, self._href)

    @property
    def dead_letters(self) -> DeadLetters:
        """What got nowhere: its messages, and notifications of them."""
        return DeadLetters(self._connection, self._href)

    async def create(self, metadata: Mapping[str, Any] | None = None) -> bool:
        """Make sure the queue exists. False when it did before; then ``metadata`` is ignored."""
        answer = await self._connection.call(
            "PUT",
            self._href,
            body=None if metadata is None else encode_json(dict(metadata)),
            headers={"Content-Type": "application/json"},
        )
        return answer.status == 201

    async def exists(self) -> bool:
        """Whether somebody created the queue, by name or by a post."""
        try:
            await self._connection.call("HEAD", self._href)
        except NotFound:
            return False
        return True

    async def metadata(self) -> Metadata:
        """The queue's metadata, with the server's defaults filled in."""
        return (await self._connection.call("GET", self._href)).read(Metadata)

    async def update(
        self, changes: Mapping[str, Any] | None = None, *, remove: Iterable[str] = ()
    ) -> Metadata:
        """Set and remove keys of the metadata, all or none; returns the new metadata.

        ``NotFound`` when the queue does not exist, ``Conflict`` when a key to remove does not.
        """
        added = [_operation("add", key, value=value) for key, value in (changes or {}).items()]
        removed = [_operation("remove", key) for key in remove]
        answer = await self._connection.call(
            "PATCH",
            self._href,
            body=encode_json(added + removed),
            headers={"Content-Type": PATCH_TYPE},
            # A removal that arrives twice finds nothing to remove and answers a conflict.
            repeat=Repeat.HARMFUL if removed else Repeat.HARMLESS,
        )
        return answer.read(Metadata)

    async def delete(self) -> None:
        """Delete the queue with all its messages; it need not exist."""
        await self._connection.call("DELETE", self._href)

    async def stats(self) -> Stats:
        """How many messages there are, and the oldest and newest of them."""
        return (await self._connection.call("GET", f"{self._href}/stats")).read(_Stats).messages

    async def purge(self) -> None:
        """Delete all messages, claimed ones too; the queue and its metadata stay."""
        await self._connection.call(
            "POST",
            f"{self._href}/purge",
            body=encode_json({"resource_types": ["messages"]}),
            headers={"Content-Type": "application/json"},
        )

    async def whereabouts(self) -> Whereabouts:
        """In which pool it lies, for an admin. ``NotFound`` when it does not exist."""
        return await whereabouts(self._connection, self._href)

    async def move(self, to: str) -> Carriage:
        """Have the queue carried to the pool ``to``, as an admin; begun already, that goes on."""
        return await start_move(self._connection, self._href, to)

    async def moved(self) -> Carriage:
        """How far the last move has come. ``NotFound`` when there was none lately."""
        return await moved(self._connection, self._href)

    def claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> "HeldClaim":
        """Claim messages for the length of an ``async with`` block; see ``HeldClaim``."""
        return HeldClaim(self, limit=limit, ttl=ttl, grace=grace, wait=wait, attributes=attributes)

    def __repr__(self) -> str:
        return f"<Queue {self.name}>"


def queue_page(answer: Answer) -> Page[QueueEntry]:
    """One page of a list of queues."""
    page = answer.read(_Queues)
    return page.queues, page.links


def _operation(op: str, key: str, **value: Any) -> dict[str, Any]:
    # RFC 6901 §3: the two characters that mean something in a pointer.
    return {"op": op, "path": "/metadata/" + key.replace("~", "~0").replace("/", "~1"), **value}
