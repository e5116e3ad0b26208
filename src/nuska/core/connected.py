"""Subscriptions of connections: told what is posted for as long as the connection lasts.

They are not stored: they are gone with the connection, and with the process. In listings a node
shows those of its own connections, under a subscriber that says nothing (contract websocket-v2
§6). Their messages come from ``core/live.py``, so from any node, and with a marker by which a
client that comes back goes on where it was.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from nuska.core.access import allow
from nuska.core.live import Listening, Live, Receiver
from nuska.core.terms import subscription_ttl
from nuska.core.usage import Usage
from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.filters import KEY as FILTER_KEY
from nuska.domain.filters import parse_filter
from nuska.domain.limits import Limits
from nuska.domain.markers import Marker, parse_live_marker
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment, after
from nuska.domain.subscription_options import check_options
from nuska.domain.subscriptions import (
    SUBSCRIPTION_ID_BYTES,
    Options,
    Subscription,
    SubscriptionId,
    subscription_id,
)
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import QueueStore, RandomBytes
from nuska.interfaces.wakeups import Wakeups

SINCE_KEY = "since"
DETAILED_KEY = "detailed"
SCHEME = "ws"
MAX_OPTIONS = 65_536
"""Bytes of the options of one connection's subscriptions."""
MAX_OPTIONS_IN_ALL = 64 * 1024 * 1024
"""Bytes of those of all connections of a process."""
MAX_OPTIONS_OF_PROJECT = MAX_OPTIONS_IN_ALL // 4
"""Of these, of those that one project's subscriptions have."""


class ConnectionDraft(Struct, frozen=True, kw_only=True):
    """A subscription of a connection, as asked for."""

    connection: str
    """A word for it that says nothing."""
    queues: tuple[str, ...]
    place: Callable[[str, str], QueueRef] = QueueRef
    """What a project and one of these names mean (``core/namespaces.py``)."""
    ttl: int | None = None
    options: Options
    ended: Callable[[], None]
    """Called when somebody else ends it."""


class Connected(Struct, frozen=True, kw_only=True, eq=False):
    """A subscription of a connection to one queue or several."""

    subscriptions: tuple[Subscription, ...]
    """The same for each of its queues, as listings show it."""
    listening: Listening
    ended: Callable[[], None]
    begun: Mapping[QueueRef, Moment]
    """Of each queue, the last purge of its subscriptions from before this began."""
    connection: str
    project: str
    """For which the options count."""
    size: int
    """Bytes of the options."""

    @property
    def id(self) -> SubscriptionId:
        return self.subscriptions[0].id

    @property
    def markers(self) -> dict[str, str]:
        """From where on it is told, by the queues' names."""
        queues = [subscription.queue for subscription in self.subscriptions]
        return {queue.name: str(self.listening.marker(queue)) for queue in queues}


class ConnectedSubscriptions:
    """Those of one process."""

    def __init__(
        self,
        live: Live,
        queues: QueueStore,
        clock: Clock,
        limits: Limits,
        random_bytes: RandomBytes,
        wakeups: Wakeups,
        usage: Usage,
    ) -> None:
        """``wakeups``: heard on other nodes too, where there are some."""
        self._live = live
        live.on_purge = self._end_older
        self._wakeups = wakeups
        self._queues = queues
        self._clock = clock
        self._limits = limits
        self._random_bytes = random_bytes
        self._usage = usage
        self._of: dict[QueueRef, dict[str, Connected]] = {}
        self._sizes: Counter[str] = Counter()
        """Bytes of options, by connection."""
        self._of_project: Counter[str] = Counter()
        """The same, by project."""
        self._size = 0

    async def create(self, caller: Caller, draft: ConnectionDraft, receiver: Receiver) -> Connected:
        """Subscribe a connection; missing queues are created. It is told nothing before
        ``listening.go_on``, and then all that was posted since this returned."""
        refs = tuple(draft.place(caller.project, name) for name in draft.queues)
        for ref in refs:
            allow(caller, "subscription:create", ref)
        size = check_options(draft.options)
        self._reserve(draft.connection, caller.project, size)
        try:
            return await self._create(caller, draft, receiver, refs, size)
        except BaseException:
            self._unreserve(draft.connection, caller.project, size)
            raise

    async def _create(
        self,
        caller: Caller,
        draft: ConnectionDraft,
        receiver: Receiver,
        refs: tuple[QueueRef, ...],
        size: int,
    ) -> Connected:
        markers = _since(draft.options, refs)
        now = self._clock.now()
        ttl = subscription_ttl(draft.ttl, self._limits, now)
        for ref in refs:
            if await self._queues.get(ref) is None:
                async with self._usage.for_queue(ref):
                    await self._queues.create(ref, {}, now=now)
        listening = await self._live.listen(
            caller.project,
            refs,
            receiver,
            after=markers,
            wanted=parse_filter(draft.options.get(FILTER_KEY)),
        )
        id_ = subscription_id(self._random_bytes(SUBSCRIPTION_ID_BYTES))
        made = Connected(
            subscriptions=tuple(
                Subscription(
                    id=id_,
                    queue=ref,
                    subscriber=f"{SCHEME}:{draft.connection}",
                    ttl=ttl,
                    options=draft.options,
                    created_at=now,
                    restarted_at=now,
                    expires_at=after(now, ttl),
                    confirmed=True,
                    since=listening.marker(ref).position,
                )
                for ref in refs
            ),
            listening=listening,
            ended=draft.ended,
            begun={ref: member.reader.purges.last for ref, member in listening.members.items()},
            connection=draft.connection,
            project=caller.project,
            size=size,
        )
        for ref in refs:
            self._of.setdefault(ref, {})[id_] = made
        return made

    def of(self, queue: QueueRef) -> list[Subscription]:
        """The subscriptions of connections here to a queue."""
        now = self._clock.now()
        return [
            subscription
            for connected in self._of.get(queue, {}).values()
            for subscription in connected.subscriptions
            if subscription.queue == queue and subscription.expires_at > now
        ]

    def get(self, queue: QueueRef, id_: str) -> Subscription | None:
        return next((found for found in self.of(queue) if found.id == id_), None)

    def end(self, queue: QueueRef, id_: str) -> bool:
        """End one by its id, for whoever asks; whether there was one."""
        found = self._of.get(queue, {}).get(id_)
        if found is None:
            return False
        self.remove(found)
        found.ended()
        return True

    async def purge(self, queue: QueueRef) -> None:
        """End all there are, on every node: elsewhere at a hint, or a few seconds later."""
        for id_ in list(self._of.get(queue, {})):
            self.end(queue, id_)
        if self._live.logs is not None:
            await self._live.logs.purge(queue)
            self._wakeups.wake(queue, 1)

    def _end_older(self, queue: QueueRef, purged: Moment) -> None:
        """Those were purged, here or elsewhere, that had begun by then."""
        for id_, connected in list(self._of.get(queue, {}).items()):
            if connected.begun[queue] < purged:
                self.end(queue, id_)

    def remove(self, connected: Connected) -> None:
        """It is over. A second call does nothing."""
        connected.listening.close()
        was_there = False
        for subscription in connected.subscriptions:
            there = self._of.get(subscription.queue)
            if there is not None:
                was_there |= there.pop(connected.id, None) is not None
                if not there:
                    del self._of[subscription.queue]
        if was_there:
            self._unreserve(connected.connection, connected.project, connected.size)

    def _reserve(self, connection: str, project: str, size: int) -> None:
        if self._sizes[connection] + size > MAX_OPTIONS:
            raise InvalidInput(
                f"The options of a connection's subscriptions may have {MAX_OPTIONS} bytes in all."
            )
        if self._size + size > MAX_OPTIONS_IN_ALL:
            raise Unavailable("Too much is kept for subscriptions of connections already.")
        if self._of_project[project] + size > MAX_OPTIONS_OF_PROJECT:
            raise Unavailable(
                "Too much is kept for subscriptions of this project's connections already."
            )
        self._sizes[connection] += size
        self._of_project[project] += size
        self._size += size

    def _unreserve(self, connection: str, project: str, size: int) -> None:
        self._size -= size
        for sizes, owner in ((self._sizes, connection), (self._of_project, project)):
            sizes[owner] -= size
            if not sizes[owner]:
                del sizes[owner]


def _since(options: Mapping[str, object], queues: Sequence[QueueRef]) -> dict[QueueRef, Marker]:
    """From where on each queue is to be told; those that are not there: from now on."""
    given = options.get(SINCE_KEY)
    if given is None:
        return {}
    if isinstance(given, str):
        if len(queues) != 1:
            raise InvalidInput("The value of since must be an object: a marker for each queue.")
        given = {queues[0].name: given}
    if not isinstance(given, dict):
        raise InvalidInput("The value of since must be a marker, or an object of markers.")
    found: dict[QueueRef, Marker] = {}
    for queue in queues:
        text = given.get(queue.name)
        if text is None:
            continue
        marker = parse_live_marker(text) if isinstance(text, str) else None
        if marker is None:
            raise InvalidInput(f"The value of since for {queue.name} is no marker.")
        found[queue] = marker
    return found
