"""The client itself: one server, one project, one Client-ID."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID, uuid4
from weakref import WeakSet

from msgspec import Struct

from nuska.client.address import Address
from nuska.client.channel import Channel
from nuska.client.channel_queue import ChannelQueue
from nuska.client.connection import Connection
from nuska.client.encryption import KEYS, DataKeyEntry, Encryption, key_page
from nuska.client.following import Gap, LiveSubscription
from nuska.client.keys import Keys
from nuska.client.paging import Listing
from nuska.client.persistence import Timing
from nuska.client.pools import Flavor, FlavorEntry, Pool, PoolEntry, flavor_page, pool_page
from nuska.client.queues import Queue, queue_page
from nuska.client.quotas import Quotas
from nuska.client.records import QueueEntry
from nuska.client.retries import RetryPolicy
from nuska.client.rushing import Rush, RushingQueue
from nuska.client.signed_urls import KeptUrl, kept_page
from nuska.client.socket import Caller
from nuska.client.topics import Topic, topic_page

DEFAULT_URL = "http://127.0.0.1:8888"
DEFAULT_TIMEOUT = 30.0
"""Seconds for one call with all its retries; a long poll's ``wait`` comes on top."""
DEFAULT_CONNECTIONS = 100
"""Connections open at once; each call that waits in the server holds one."""

Transport = Literal["http", "websocket", "auto"]
"""How a queue's frequent calls go: a request each, many at once over one connection, or as many
are under way."""


class _Count(Struct, frozen=True):
    count: int = 0


class Client:
    """``async with Client("http://127.0.0.1:8888", project="shop") as client: …``

    ``client_id`` stays the same for the life of the client; by it a listing can leave out what
    the client itself posted. ``headers`` go with every request; ``token``, or an API key
    in its place, proves who we are. All calls may be made at once.
    ``transport="websocket"`` is for high rates: what queues do often then goes over one
    connection, many requests at a time. ``transport="auto"`` does so while there is much to do.
    """

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
        self.project = project
        self.client_id = str(client_id or uuid4())
        self._address = Address.parse(url)
        self._timeout, self._retry = timeout, retry or RetryPolicy()
        self._timing = timing or Timing()
        named = {**(headers or {}), "Client-ID": self.client_id, "X-Project-Id": project}
        if token is not None:
            named["X-Auth-Token"] = token
        self._connection = Connection(
            self._address,
            headers={**named, "Accept": "application/json"},
            timeout=timeout,
            retry=self._retry,
            connections=connections,
            timing=self._timing,
        )
        self._caller = Caller.of(named)
        self._subscriptions: WeakSet[LiveSubscription] = WeakSet()
        self._channel = (
            Channel(
                self._address,
                self._caller,
                timeout=timeout,
                retry=self._retry,
                timing=self._timing,
            )
            if transport != "http"
            else None
        )
        self._rush = None if self._channel is None or transport != "auto" else Rush(self._channel)

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        if self._channel is not None:
            self._channel.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for subscription in list(self._subscriptions):
            await subscription.close()
        if self._rush is not None:
            await self._rush.close()
        if self._channel is not None:
            await self._channel.close()
        await self._connection.__aexit__(kind, error, trace)

    def queue(self, name: str) -> Queue:
        """The queue of that name, whether or not it exists; asks nothing of the server."""
        if self._rush is not None:
            return RushingQueue(self._connection, name, self._rush)
        if self._channel is not None:
            return ChannelQueue(self._connection, name, self._channel)
        return Queue(self._connection, name)

    def subscribe(
        self,
        *queues: str,
        topic: str | None = None,
        since: str | Mapping[str, str] | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002  its name in the API
        on_gap: Callable[[Gap], None] | None = None,
    ) -> LiveSubscription:
        """Messages as they are posted: ``async for message in client.subscribe("jobs")``, or as
        they are published to a topic: ``client.subscribe(topic="news")``.

        ``since`` is the marker after which to begin (``message.marker``, a message's id), of one
        queue, or of each by its name; without it, with what is posted from now on. Only messages
        that fit ``filter`` come. ``on_gap`` is told when the server no longer had messages
        that should have come; else that is logged.
        """
        if topic is not None:
            if queues:
                raise ValueError("a subscription is of queues or of a topic")
            queues = (topic,)
        if isinstance(since, str):
            if len(queues) != 1:
                raise ValueError("a marker is of one queue; give one by the name of each")
            since = {queues[0]: since}
        subscription = LiveSubscription(
            self._address,
            self._caller,
            queues,
            of_topic=topic is not None,
            since=since or {},
            filter=filter,
            on_gap=on_gap,
            timeout=self._timeout,
            retry=self._retry,
            timing=self._timing,
        )
        self._subscriptions.add(subscription)
        return subscription

    def queues(
        self,
        *,
        detailed: bool = False,
        name: str | None = None,
        metadata: Mapping[str, str | int] | None = None,
        page: int | None = None,
        marker: str | None = None,
    ) -> Listing[QueueEntry]:
        """The project's queues by name: ``async for entry in client.queues()``.

        Those whose name contains ``name``, and whose ``metadata`` has these values;
        ``detailed`` shows the metadata. ``marker`` is the name after which to start.
        """
        query = {"detailed": detailed or None, "name": name, "limit": page, "marker": marker}
        return Listing(self._connection, "/v2/queues", {**(metadata or {}), **query}, queue_page)

    async def count_queues(self) -> int:
        """How many queues the project has."""
        answer = await self._connection.call(
            "GET", "/v2/queues", query={"with_count": True, "limit": 1}
        )
        return answer.read(_Count).count

    def topic(self, name: str) -> Topic:
        """The topic of that name, whether or not it exists."""
        return Topic(self._connection, name)

    def topics(
        self, *, detailed: bool = False, page: int | None = None, marker: str | None = None
    ) -> Listing[QueueEntry]:
        """The project's topics by name; ``detailed`` shows their metadata."""
        query = {"detailed": detailed or None, "limit": page, "marker": marker}
        return Listing(self._connection, "/v2/topics", query, topic_page)

    def pool(self, name: str) -> Pool:
        """The pool of that name, whether or not it exists. What it does needs the role admin."""
        return Pool(self._connection, name)

    def pools(
        self, *, detailed: bool = False, page: int | None = None, marker: str | None = None
    ) -> Listing[PoolEntry]:
        """The server's pools by name; ``detailed`` shows their options."""
        query = {"detailed": detailed or None, "limit": page, "marker": marker}
        return Listing(self._connection, "/v2/pools", query, pool_page)

    def flavor(self, name: str) -> Flavor:
        """The flavor of that name, whether or not it exists."""
        return Flavor(self._connection, name)

    def flavors(
        self, *, detailed: bool = False, page: int | None = None, marker: str | None = None
    ) -> Listing[FlavorEntry]:
        """The server's flavors by name; ``detailed`` shows what their pools can do."""
        query = {"detailed": detailed or None, "limit": page, "marker": marker}
        return Listing(self._connection, "/v2/flavors", query, flavor_page)

    @property
    def encryption(self) -> Encryption:
        """The data keys of the project's encrypted queues. They need the role admin."""
        return Encryption(self._connection)

    def data_keys(
        self, *, page: int | None = None, marker: str | None = None
    ) -> Listing[DataKeyEntry]:
        """What is known of the project's data keys, by id."""
        return Listing(self._connection, KEYS, {"limit": page, "marker": marker}, key_page)

    def keys(self) -> Keys:
        """The project's API keys. What it does needs the role admin."""
        return Keys(self._connection)

    def quotas(self) -> Quotas:
        """What projects may have. Changing it, or asking about others, needs the role admin."""
        return Quotas(self._connection, self.project)

    def kept_urls(self, *, page: int | None = None) -> Listing[KeptUrl]:
        """The pre-signed URLs that the server keeps for the project's queues, by queue."""
        return Listing(self._connection, "/v2/grants", {"limit": page}, kept_page)

    async def ping(self) -> None:
        """Returns if the server and its store answer; else raises what went wrong."""
        await self._connection.call("GET", "/v2/ping")
