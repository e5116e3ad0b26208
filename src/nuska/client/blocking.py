"""The client for programs without an event loop.

A thin face: every call runs the asynchronous client of the same name in a loop of its own, in
one thread that lives as long as the ``with`` block. Claims are renewed in that thread while
the program works. May be used from several threads at once; makes no decisions of its own.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from nuska.client.blocking_claims import BlockingClaim, BlockingClaimedMessage
from nuska.client.blocking_encryption import BlockingEncryption
from nuska.client.blocking_keys import BlockingKeys
from nuska.client.blocking_live import BlockingSubscription
from nuska.client.blocking_paging import BlockingListing, iterated
from nuska.client.blocking_pools import BlockingFlavor, BlockingPool
from nuska.client.blocking_queues import BlockingQueue
from nuska.client.blocking_quotas import BlockingQuotas
from nuska.client.blocking_subscriptions import BlockingTopic
from nuska.client.client import (
    DEFAULT_CONNECTIONS,
    DEFAULT_TIMEOUT,
    DEFAULT_URL,
    Client,
    Transport,
)
from nuska.client.encryption import DataKeyEntry
from nuska.client.following import Gap
from nuska.client.persistence import Timing
from nuska.client.pools import FlavorEntry, PoolEntry
from nuska.client.portal import NOT_OPEN, Portal
from nuska.client.records import QueueEntry
from nuska.client.retries import RetryPolicy
from nuska.client.signed_urls import KeptUrl

__all__ = [
    "BlockingClaim",
    "BlockingClaimedMessage",
    "BlockingClient",
    "BlockingListing",
    "BlockingQueue",
]


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
        topic: str | None = None,
        since: str | Mapping[str, str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  its name in the API
        on_gap: Callable[[Gap], None] | None = None,
    ) -> BlockingSubscription:
        """``on_gap`` is called in the client's thread."""
        live = self._client.subscribe(
            *queues, topic=topic, since=since, filter=filter, on_gap=on_gap
        )
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
        return BlockingTopic(portal, self._client.topic(name), iterated(portal))

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
        return BlockingKeys(portal, self._client.keys(), iterated(portal))

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
