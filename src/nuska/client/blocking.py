"""The client for programs without an event loop.

A thin face: every call runs the asynchronous client of the same name in a loop of its own, in
one thread that lives as long as the ``with`` block. Claims are renewed in that thread while
the program works. May be used from several threads at once; makes no decisions of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar
from uuid import UUID

from nuska.client.blocking_encryption import BlockingEncryption
from nuska.client.blocking_keys import BlockingKeys
from nuska.client.blocking_live import BlockingSubscription
from nuska.client.blocking_pools import BlockingFlavor, BlockingPool
from nuska.client.blocking_quotas import BlockingQuotas
from nuska.client.blocking_subscriptions import (
    BlockingDeadLetters,
    BlockingSubscriptions,
    BlockingTopic,
    Iterated,
)
from nuska.client.blocking_urls import BlockingSignedUrls
from nuska.client.claims import CLAIM_TTL
from nuska.client.client import (
    DEFAULT_CONNECTIONS,
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    Client,
    Transport,
)
from nuska.client.encoding import MESSAGES_PER_POST, batches
from nuska.client.encryption import DataKeyEntry
from nuska.client.errors import ClaimLost
from nuska.client.following import Gap
from nuska.client.held import ClaimedMessage, HeldClaim
from nuska.client.paging import Listing
from nuska.client.persistence import Timing
from nuska.client.pools import Carriage, FlavorEntry, PoolEntry, Whereabouts
from nuska.client.portal import NOT_OPEN, Portal
from nuska.client.queues import Queue
from nuska.client.records import Claim, Message, Metadata, NewMessage, QueueEntry, RawMessage, Stats
from nuska.client.retries import RetryPolicy
from nuska.client.signed_urls import KeptUrl

T = TypeVar("T")


class BlockingListing(Generic[T]):
    """``for item in listing``; fetches page by page."""

    def __init__(self, portal: Portal, listing: Listing[T]) -> None:
        self._portal = portal
        self._listing = listing

    def pages(self) -> Iterator[list[T]]:
        pages = self._listing.pages()
        while True:
            try:
                yield self._portal.run(anext(pages))  # type: ignore[arg-type]  # is a coroutine
            except StopAsyncIteration:
                return

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page

    def all(self) -> list[T]:
        return list(self)


def _iterated(portal: Portal) -> Iterated:
    return lambda listing: iter(BlockingListing(portal, listing))


class BlockingClaimedMessage:
    """A message in a held claim."""

    def __init__(self, portal: Portal, message: ClaimedMessage) -> None:
        self._portal = portal
        self._message = message
        self.record = message.record
        self.id = message.id
        self.body: Any = message.body
        self.attributes = message.attributes

    def delete(self) -> None:
        """The work is done: delete the message. ``ClaimLost`` when it is no longer ours."""
        self._portal.run(self._message.delete())


class BlockingClaim:
    """A claim for the length of a ``with`` block, renewed in the background.

    What was not deleted is free at the end of the block. A block cannot be stopped from
    outside: ask ``lost`` before a step that must not be done twice. ``ClaimLost`` comes out
    of a block that ends after its claim.
    """

    def __init__(self, portal: Portal, claim: HeldClaim) -> None:
        self._portal = portal
        self._claim = claim

    @property
    def id(self) -> str | None:
        """None when there was nothing to claim."""
        return self._claim.id

    @property
    def lost(self) -> bool:
        """The claim is over; others may have its messages."""
        return self._claim.lost

    def keep(self) -> None:
        """Leave the messages claimed when the block ends."""
        self._claim.keep()

    def delete_all(self) -> None:
        """Delete every message that is left, in as few calls as possible."""
        self._portal.run(self._claim.delete_all())

    def __iter__(self) -> Iterator[BlockingClaimedMessage]:
        return (BlockingClaimedMessage(self._portal, message) for message in self._claim)

    def __len__(self) -> int:
        return len(self._claim)

    def __enter__(self) -> Self:
        self._portal.run(self._claim.acquire())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.run(self._claim.end())
        if error is None and self._claim.lost and len(self._claim):
            raise ClaimLost(f"Claim {self.id} ended before the work on its messages did.")


class BlockingQueue:
    """One queue; see ``Queue`` for what each call does."""

    def __init__(self, portal: Portal, queue: Queue) -> None:
        self._portal = portal
        self._queue = queue
        self.name = queue.name

    @property
    def subscriptions(self) -> BlockingSubscriptions:
        return BlockingSubscriptions(
            self._portal, self._queue.subscriptions, _iterated(self._portal)
        )

    @property
    def signed_urls(self) -> BlockingSignedUrls:
        return BlockingSignedUrls(self._portal, self._queue.signed_urls, _iterated(self._portal))

    @property
    def dead_letters(self) -> BlockingDeadLetters:
        return BlockingDeadLetters(self._portal, self._queue.dead_letters, _iterated(self._portal))

    def create(self, metadata: Mapping[str, Any] | None = None) -> bool:
        return self._portal.run(self._queue.create(metadata))

    def exists(self) -> bool:
        return self._portal.run(self._queue.exists())

    def metadata(self) -> Metadata:
        return self._portal.run(self._queue.metadata())

    def update(
        self, changes: Mapping[str, Any] | None = None, *, remove: Iterable[str] = ()
    ) -> Metadata:
        return self._portal.run(self._queue.update(changes, remove=remove))

    def delete(self) -> None:
        self._portal.run(self._queue.delete())

    def stats(self) -> Stats:
        return self._portal.run(self._queue.stats())

    def purge(self) -> None:
        self._portal.run(self._queue.purge())

    def whereabouts(self) -> Whereabouts:
        return self._portal.run(self._queue.whereabouts())

    def move(self, to: str) -> Carriage:
        return self._portal.run(self._queue.move(to))

    def moved(self) -> Carriage:
        return self._portal.run(self._queue.moved())

    def post(
        self,
        body: Any,
        *,
        ttl: int | None = None,
        delay: int | None = None,
        attributes: dict[str, Any] | None = None,
        key: str | None = None,
    ) -> str:
        posting = self._queue.post(body, ttl=ttl, delay=delay, attributes=attributes, key=key)
        return self._portal.run(posting)

    def post_many(self, messages: Iterable[NewMessage], *, key: str | None = None) -> list[str]:
        return self._portal.run(self._queue.post_many(messages, key=key))

    def post_in_batches(
        self, messages: Iterable[NewMessage], *, count: int = MESSAGES_PER_POST
    ) -> Iterator[list[str]]:
        size = self._portal.run(self._queue.max_post_size())
        for batch in batches(messages, count=count, size=size):  # in the caller's own thread
            yield self._portal.run(self._queue.post_encoded(batch))

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
    ) -> BlockingListing[Message]:
        listing = self._queue.messages(
            echo=echo,
            include_claimed=include_claimed,
            include_delayed=include_delayed,
            attributes=attributes,
            page=page,
            marker=marker,
            wait=wait,
            follow=follow,
        )
        return BlockingListing(self._portal, listing)

    def everything(self, *, page: int) -> BlockingListing[RawMessage]:
        return BlockingListing(self._portal, self._queue.everything(page=page))

    def message(self, message_id: str, *, attributes: bool = False) -> Message:
        return self._portal.run(self._queue.message(message_id, attributes=attributes))

    def delete_message(self, message_id: str, *, claim_id: str | None = None) -> None:
        self._portal.run(self._queue.delete_message(message_id, claim_id=claim_id))

    def delete_messages(self, message_ids: Iterable[str], *, claim_ids: Iterable[str] = ()) -> None:
        self._portal.run(self._queue.delete_messages(message_ids, claim_ids=claim_ids))

    def pop(self, limit: int = 1, *, wait: int = 0, attributes: bool = False) -> list[Message]:
        return self._portal.run(self._queue.pop(limit, wait=wait, attributes=attributes))

    def claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> BlockingClaim:
        claim = self._queue.claim(
            limit=limit, ttl=ttl, grace=grace, wait=wait, attributes=attributes
        )
        return BlockingClaim(self._portal, claim)

    def create_claim(
        self,
        *,
        limit: int = 1,
        ttl: int = CLAIM_TTL,
        grace: int | None = None,
        wait: int = 0,
        attributes: bool = False,
    ) -> Claim | None:
        return self._portal.run(
            self._queue.create_claim(
                limit=limit, ttl=ttl, grace=grace, wait=wait, attributes=attributes
            )
        )

    def show_claim(self, claim_id: str, *, attributes: bool = False) -> Claim:
        return self._portal.run(self._queue.show_claim(claim_id, attributes=attributes))

    def renew_claim(self, claim_id: str, *, ttl: int = CLAIM_TTL, grace: int | None = None) -> None:
        self._portal.run(self._queue.renew_claim(claim_id, ttl=ttl, grace=grace))

    def release_claim(self, claim_id: str, *, timeout: float | None = None) -> None:
        self._portal.run(self._queue.release_claim(claim_id, timeout=timeout))


class BlockingClient:
    """``with BlockingClient("http://127.0.0.1:8888", project="shop") as client: …``"""

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        project: str,
        client_id: UUID | str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        transport: Transport = "http",
        connections: int = DEFAULT_CONNECTIONS,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._client = Client(
            url,
            project=project,
            client_id=client_id,
            timeout=timeout,
            retry=retry,
            transport=transport,
            connections=connections,
            headers=headers,
            token=token,
            timing=timing,
        )
        self._portal: Portal | None = None

    @property
    def project(self) -> str:
        return self._client.project

    @property
    def client_id(self) -> str:
        return self._client.client_id

    def __enter__(self) -> Self:
        if self._portal is not None:
            raise RuntimeError("this client is open already")
        portal = Portal()
        portal.start()
        try:
            portal.run(self._client.__aenter__())
        except BaseException:
            portal.stop()
            raise
        self._portal = portal
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        portal, self._portal = self._portal, None
        if portal is not None:
            try:
                portal.run(self._client.__aexit__(kind, error, trace))
            finally:
                portal.stop()

    def queue(self, name: str) -> BlockingQueue:
        return BlockingQueue(self._open(), self._client.queue(name))

    def subscribe(
        self,
        *queues: str,
        since: str | Mapping[str, str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  its name in the API
        on_gap: Callable[[Gap], None] | None = None,
    ) -> BlockingSubscription:
        """``on_gap`` is called in the client's thread."""
        live = self._client.subscribe(*queues, since=since, filter=filter, on_gap=on_gap)
        return BlockingSubscription(self._open(), live)

    def queues(
        self,
        *,
        detailed: bool = False,
        name: str | None = None,
        metadata: Mapping[str, str | int] | None = None,
        page: int | None = None,
        marker: str | None = None,
    ) -> BlockingListing[QueueEntry]:
        listing = self._client.queues(
            detailed=detailed, name=name, metadata=metadata, page=page, marker=marker
        )
        return BlockingListing(self._open(), listing)

    def count_queues(self) -> int:
        return self._open().run(self._client.count_queues())

    def topic(self, name: str) -> BlockingTopic:
        portal = self._open()
        return BlockingTopic(portal, self._client.topic(name), _iterated(portal))

    def topics(
        self, *, detailed: bool = False, page: int | None = None, marker: str | None = None
    ) -> BlockingListing[QueueEntry]:
        listing = self._client.topics(detailed=detailed, page=page, marker=marker)
        return BlockingListing(self._open(), listing)

    def pool(self, name: str) -> BlockingPool:
        return BlockingPool(self._open(), self._client.pool(name))

    def pools(
        self, *, detailed: bool = False, page: int | None = None, marker: str | None = None
    ) -> BlockingListing[PoolEntry]:
        listing = self._client.pools(detailed=detailed, page=page, marker=marker)
        return BlockingListing(self._open(), listing)

    def flavor(self, name: str) -> BlockingFlavor:
        return BlockingFlavor(self._open(), self._client.flavor(name))

    def flavors(
        self, *, detailed: bool = False, page: int | None = None, marker: str | None = None
    ) -> BlockingListing[FlavorEntry]:
        listing = self._client.flavors(detailed=detailed, page=page, marker=marker)
        return BlockingListing(self._open(), listing)

    @property
    def encryption(self) -> BlockingEncryption:
        return BlockingEncryption(self._open(), self._client.encryption)

    def data_keys(
        self, *, page: int | None = None, marker: str | None = None
    ) -> BlockingListing[DataKeyEntry]:
        return BlockingListing(self._open(), self._client.data_keys(page=page, marker=marker))

    def keys(self) -> BlockingKeys:
        portal = self._open()
        return BlockingKeys(portal, self._client.keys(), _iterated(portal))

    def quotas(self) -> BlockingQuotas:
        return BlockingQuotas(self._open(), self._client.quotas())

    def kept_urls(self, *, page: int | None = None) -> BlockingListing[KeptUrl]:
        return BlockingListing(self._open(), self._client.kept_urls(page=page))

    def ping(self) -> None:
        self._open().run(self._client.ping())

    def _open(self) -> Portal:
        if self._portal is None:
            raise RuntimeError(NOT_OPEN)
        return self._portal
