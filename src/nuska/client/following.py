"""Messages of queues as they are posted: connects, subscribes, and comes back when cut off.

Each subscription has a connection of its own. Who is slow to take messages slows down that
connection alone; should the server cut it off for that, nothing is missed: it goes on after
the last marker. Nothing is held back here, taken out of a queue, or claimed.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Self

import msgspec
from msgspec import Struct
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from nuska.client.address import Address
from nuska.client.errors import ClientError
from nuska.client.frames import Frame, encode_body, read_frame, request
from nuska.client.persistence import Timing, persist
from nuska.client.retries import Repeat, RetryPolicy, passes
from nuska.client.socket import Caller, first, open_socket

AWAY = RetryPolicy(first=0.5, longest=30.0)
"""The pauses between attempts to come back."""
RESTARTING = 1012
"""The close code of a server that is back in a moment."""
RESTART_SPREAD = 2.0
"""Seconds over which its clients come back, each at a moment of its own."""
SETTLED = 30.0
"""Seconds after which a connection is not one that was cut off at once."""
TTL = 86_400
"""Seconds a subscription lasts before it is made anew."""

log = logging.getLogger("nuska.client")


class LiveMessage(Struct, frozen=True, kw_only=True):
    """A message as it was posted."""

    queue: str
    """Or the topic."""
    id: str
    marker: str
    """Where to go on after this message."""
    body: Any
    ttl: int
    attributes: dict[str, Any] | None = None


class Gap(Struct, frozen=True):
    """Some messages of ``queue`` up to ``marker`` are missing: the server no longer had them."""

    queue: str
    marker: str


class _Started(Struct, frozen=True):
    marker: str | None = None
    markers: dict[str, str] = {}


class LiveSubscription:
    """What ``Client.subscribe`` returns: ``async for message in client.subscribe("jobs")``.

    Entering it with ``async with`` subscribes at once; else the first message that is asked
    for does. It never ends by itself: a server that is away is waited for.
    """

    def __init__(
        self,
        address: Address,
        caller: Caller,
        queues: tuple[str, ...],
        *,
        of_topic: bool,
        since: Mapping[str, str],
        filter: Mapping[str, Any] | None,  # noqa: A002  its name in the API
        on_gap: Callable[[Gap], None] | None,
        timeout: float,
        retry: RetryPolicy,
        timing: Timing,
    ) -> None:
        if not queues:
            raise ValueError("a subscription needs the name of a queue")
        self._address, self._caller = address, caller
        self._queues, self._of_topic = queues, of_topic
        self._filter = filter
        self._on_gap = on_gap
        self._timeout, self._retry, self._timing = timeout, retry, timing
        self._socket: ClientConnection | None = None
        self._opened_at = 0.0
        self._failures = 0
        self._closed = False
        self.markers: dict[str, str] = dict(since)
        """Of each queue, after what to go on: good for ``since``, even of another process."""
        self.gaps = 0
        """How many gaps there have been."""

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the subscription; whoever waits for a message then is told that there is none."""
        self._closed = True
        if self._socket is not None:
            await self._socket.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LiveMessage:
        if self._socket is None:
            await self._start()
        while not self._closed:
            assert self._socket is not None
            try:
                frame = read_frame(await self._socket.recv(decode=False))
            except ConnectionClosed as error:
                await self._come_back(error)
                continue
            match frame.kind:
                case "Notification":
                    return self._message(frame)
                case "Gap":
                    self._gap(Gap(frame.source, frame.marker))
                case "SubscriptionEnded":
                    await self._socket.close()
        raise StopAsyncIteration

    def _message(self, frame: Frame) -> LiveMessage:
        self.markers[frame.source] = frame.marker
        self._failures = 0
        return LiveMessage(
            queue=frame.source,
            id=frame.message_id,
            marker=frame.marker,
            body=frame.read(object),
            ttl=frame.ttl,
            attributes=frame.attributes,
        )

    def _gap(self, gap: Gap) -> None:
        self.gaps += 1
        self.markers[gap.queue] = gap.marker
        if self._on_gap is not None:
            self._on_gap(gap)
        else:
            log.warning("messages of queue %s up to %s are missing", gap.queue, gap.marker)

    async def _start(self) -> None:
        """The first time, a server that cannot be reached is an error after a few attempts."""
        await persist(
            lambda _: self._subscribe(),
            seconds=self._timeout,
            retry=self._retry,
            repeat=Repeat.HARMLESS,
            timing=self._timing,
        )

    async def _come_back(self, end: ConnectionClosed) -> None:
        """Subscribe again, after what was seen last, however long it takes."""
        if self._timing.clock() - self._opened_at > SETTLED:
            self._failures = 0
        said = end.rcvd
        log.info("subscription cut off: %s", "no good-bye" if said is None else said)
        if said is not None and said.code == RESTARTING:
            await self._timing.sleep(RESTART_SPREAD * self._timing.dice.random())
        while not self._closed:
            self._failures += 1
            await self._timing.sleep(
                AWAY.pause(self._failures, retry_after=None, dice=self._timing.dice)
            )
            if self._closed:
                return
            try:
                await self._subscribe()
            except ClientError as error:
                if not passes(error):
                    raise
                log.info("not subscribed again yet: %s", error)
            else:
                return

    async def _subscribe(self) -> None:
        socket = await open_socket(self._address, self._caller, ClientConnection)
        # Nothing is pushed before the reply that says from where on.
        reply = await first(socket, self._request())
        started = reply.read(_Started)
        if started.marker is not None:
            started.markers[self._queues[0]] = started.marker
        self.markers = {**started.markers, **self.markers}
        self._socket, self._opened_at = socket, self._timing.clock()

    def _request(self) -> bytes:
        one = len(self._queues) == 1
        since: Any = self.markers.get(self._queues[0]) if one else self.markers or None
        options = {"detailed": True, "since": since, "filter": self._filter}
        place: Any = self._queues[0] if one else self._queues
        key = "topic_name" if self._of_topic else "queue_name" if one else "queue_names"
        body = encode_body(
            **{key: place},
            ttl=TTL,
            options=msgspec.Raw(encode_body(**options)),
        )
        return request("subscription_create", 1, headers=self._caller.headers, body=body)
