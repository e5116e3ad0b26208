"""Live listeners: whoever holds a connection is told of messages as they become available.

A *listening* reads what was announced, not the queue: a message that a worker has deleted
already is told, one that has expired is not. It sees everything that becomes available in its
queues after it began, from any node of a shared store, in the order of each queue; a delayed
message when it is due. With the marker of what he was told last anybody comes back, to any node:
he is told what he missed, once, and of a ``Gap`` where that cannot be known any more.

How a transport uses it::

    listening = await live.listen(
        caller.project,
        (queue, ...),                       # QueueRefs: Namespace.place(caller.project, name)
        receiver,                           # see Receiver in core/listeners.py
        after={queue: marker},              # parse_live_marker(text); left out: from now on
        wanted=parse_filter(document),      # or None
    )
    # Everything posted from here on will be told; nothing is until go_on.
    text = str(listening.marker(queue))     # for the reply, or a heartbeat
    listening.go_on()
    ...
    listening.hold()                        # the outbox is full; go_on() when it is not
    listening.close()                       # the connection has gone, or the subscription ends

``receiver.take(batch)`` gets ``Announced`` objects, which are the same for most receivers:
``item.encoded("json", encode)`` encodes once for all of them, so what it makes must not differ from
one receiver to another. ``str(item.marker)`` is the marker to show. ``receiver.end`` comes when the
process stops. Permission is the caller's business: ``core/access.py`` is asked before.

Metrics: ``listeners``, ``followed`` and ``passed_on`` are plain numbers.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from nuska.core.bodies import Bodies
from nuska.core.listeners import Announced, Ending, Gap, Listening, Member, Receiver
from nuska.core.live_bounds import LiveBounds
from nuska.core.live_logs import LiveLogs
from nuska.core.live_purges import OnPurge
from nuska.core.live_readers import Reader
from nuska.core.opened_logs import OpenedLogs
from nuska.core.quotas import QuotaBook
from nuska.core.wakeups import LocalWakeups, Overhearing
from nuska.domain.errors import InvalidInput, NotOffered, Unavailable
from nuska.domain.filters import Filter
from nuska.domain.internal import owner_of
from nuska.domain.markers import Marker
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.ending import ended
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.storage import RandomBytes

__all__ = ["Announced", "Ending", "Gap", "Listening", "Live", "LiveBounds", "Receiver"]

MAX_QUEUES = 100
"""Of one listening."""
CLOSE_EVERY = 30.0
"""Seconds between two looks for logs that nobody listens to any more."""
ENDED_AT_ONCE = 100
"""Listeners told that the process stops; then others get a turn of the loop."""

logger = logging.getLogger("nuska.live")


class _Project(Struct, frozen=True):
    """A project, told from an address that is written like it."""

    id: str


class Live:
    """All that is listened to in one process."""

    def __init__(
        self,
        store: SubscribableStore | None,
        wakeups: LocalWakeups,
        clock: Clock,
        random_bytes: RandomBytes,
        bounds: LiveBounds,
        longest_delay: Duration,
        bodies: Bodies,
        book: QuotaBook,
    ) -> None:
        """``longest_delay``: of any message. None for a store that keeps no announcement logs."""
        self.bounds = bounds
        self._store = store
        self._wakeups = wakeups
        self._clock = clock
        self.random_bytes = random_bytes
        self._longest_delay = longest_delay
        self._bodies = bodies
        self._book = book
        self.logs = (
            None
            if store is None
            else LiveLogs(store, clock, random_bytes, seconds(bounds.live_kept))
        )
        self._readers: dict[QueueRef, Reader] = {}
        self._tasks: dict[Reader, asyncio.Task[None]] = {}
        self._listenings: dict[Listening, tuple[_Project | str, ...]] = {}
        """With those for whom they count: a project, and an address perhaps."""
        self._of_owner: Counter[_Project | str] = Counter()
        self._followed: Counter[str] = Counter()
        """Queues that are followed, by project."""
        self._hearing: Overhearing | None = None
        self._passed_on = 0
        """By readers that have ended."""
        self.stopping = False
        self.on_purge: OnPurge = lambda _queue, _moment: None
        """Told when subscriptions of connections to a queue were removed, on whatever node."""
        self.refusal = ""
        """Why nobody can listen in this process, in a sentence; set by whoever runs it."""

    @property
    def listeners(self) -> int:
        return len(self._listenings)

    @property
    def followed(self) -> int:
        """Queues that are read, for somebody or for those who come back soon."""
        return len(self._readers)

    @property
    def listenings(self) -> Collection[Listening]:
        return self._listenings

    @property
    def readers(self) -> Mapping[QueueRef, Reader]:
        return self._readers

    @property
    def passed_on(self) -> int:
        """Messages handed to receivers, counted for each."""
        return self._passed_on + sum(reader.passed_on for reader in self._readers.values())

    async def listen(
        self,
        project: str,
        queues: Sequence[QueueRef],
        receiver: Receiver,
        *,
        after: Mapping[QueueRef, Marker] | None = None,
        wanted: Filter | None = None,
        address: str | None = None,
    ) -> Listening:
        """A listening that begins held: with what is posted from now on, or comes after the
        markers. ``Unavailable`` where there is no room, or no log. Of one ``address``, where one
        is given, only so many may listen."""
        if self._store is None or self.logs is None:
            raise Unavailable("This store cannot tell of messages as they are posted.")
        if self.refusal:
            raise NotOffered(self.refusal)
        queues = tuple(dict.fromkeys(queues))
        if not 0 < len(queues) <= MAX_QUEUES:
            raise InvalidInput(f"The number of queues must be from 1 to {MAX_QUEUES}.")
        self._check_room(project, queues, address)
        listening = Listening(receiver, wanted, self._release)
        owners = (_Project(project),) if address is None else (_Project(project), address)
        self._listenings[listening] = owners
        self._of_owner.update(owners)
        after = {} if after is None else after
        fresh: set[Member] = set()
        try:
            for queue in queues:
                reader = self._reader(queue, self._store, self.logs)
                marker = after.get(queue)
                member = Member(listening, reader, Marker(BEFORE_ALL) if marker is None else marker)
                reader.add(member)
                listening.members[queue] = member
                if marker is None:
                    fresh.add(member)
            members = list(listening.members.values())
            ends = await asyncio.gather(*(member.reader.end_of_log() for member in members))
        except BaseException:
            listening.close()
            raise
        if listening.closed:
            raise Unavailable("The service is stopping.")
        for member, end in zip(members, ends, strict=True):
            if member in fresh:
                member.begin_at(Marker(end))
        return listening

    def _check_room(self, project: str, queues: Sequence[QueueRef], address: str | None) -> None:
        if self.stopping:
            raise Unavailable("The service is stopping.")
        if len(self._listenings) >= self.bounds.max_listeners:
            raise Unavailable("Too many are listening already.")
        limit = self._book.of(project).listeners
        if limit is not None and self._of_owner[_Project(project)] >= limit:
            self._book.count_refusal("listeners", project)
            raise Unavailable(
                f"Too many of this project are listening already: listeners is limited to {limit}."
            )
        if address is not None and self._of_owner[address] >= self.bounds.max_streams_per_address:
            raise Unavailable("Too many are listening from this address already.")
        self._make_way(project, queues)

    def _make_way(self, project: str, queues: Sequence[QueueRef]) -> None:
        """Room for those of the queues that nobody follows yet. Others that are followed only
        for those who may come back make way, the project's own first."""
        new = sum(queue not in self._readers for queue in queues)
        beyond_share = self._followed[project] + new - self.bounds.share_of_followed
        beyond = len(self._readers) + new - self.bounds.max_followed_queues
        if not new or (beyond_share <= 0 and beyond <= 0):
            return
        wanted = set(queues)
        idle = [
            reader
            for reader in self._readers.values()
            if not reader.members and reader.queue not in wanted
        ]
        own = [reader for reader in idle if owner_of(reader.queue.project) == project]
        if beyond_share > len(own):
            raise Unavailable("Too many queues of this project are listened to already.")
        if beyond > len(idle):
            raise Unavailable("Too many queues are listened to already.")
        others = [reader for reader in idle if owner_of(reader.queue.project) != project]
        for reader in (own + others)[: max(beyond_share, beyond)]:
            self._ended(reader)
            reader.make_way()

    async def use(self, project: str) -> Mapping[str, int]:
        """Implements ``Meter``, for this process."""
        return {"listeners": self._of_owner[_Project(project)]}

    def look(self) -> None:
        """Look at every queue now: hints may have been lost, or the time has changed."""
        for reader in self._readers.values():
            reader.poke()

    async def run(self) -> None:
        """Close the logs that nobody listens to any more, on any node; until cancelled."""
        while True:
            await asyncio.sleep(CLOSE_EVERY)
            await self.close_over()

    async def close_over(self) -> None:
        """One look for logs that nobody listens to any more."""
        if self.logs is None:
            return
        try:
            await self.logs.close_over()
        except Unavailable as error:
            logger.warning("logs cannot be closed now", extra={"reason": error.description})
        except Exception as error:
            logger.error("closing logs failed unexpectedly", exc_info=error)

    async def stop(self) -> None:
        """End every listening, so that its client goes elsewhere. A second call does nothing."""
        self.stopping = True
        for number, listening in enumerate(list(self._listenings), 1):
            listening.end(Ending.STOPPING)
            if number % ENDED_AT_ONCE == 0:
                await asyncio.sleep(0)
        await ended(*self._tasks.values())
        if self._hearing is not None:
            self._hearing.stop()
            self._hearing = None

    def _release(self, listening: Listening) -> None:
        """It is closed."""
        for owner in self._listenings.pop(listening, ()):
            self._of_owner[owner] -= 1
            if not self._of_owner[owner]:
                del self._of_owner[owner]

    def _overhear(self, queue: QueueRef | None, _messages: int) -> None:
        """On the path of every post: a look-up, where nobody listens."""
        if queue is None:
            self.look()
            return
        reader = self._readers.get(queue)
        if reader is not None:
            reader.poke()

    def _reader(self, queue: QueueRef, store: SubscribableStore, logs: LiveLogs) -> Reader:
        reader = self._readers.get(queue)
        if reader is None:
            if self._hearing is None:
                self._hearing = self._wakeups.overhear(self._overhear, everything=False)
            self._hearing.follow(queue)
            reader = self._readers[queue] = Reader(
                queue,
                OpenedLogs(store.announcements, self._bodies),
                logs,
                self._clock,
                self.bounds,
                self._longest_delay,
                self.on_purge,
            )
            task = asyncio.get_running_loop().create_task(
                reader.run(self._ended), name="a live queue"
            )
            self._followed[owner_of(queue.project)] += 1
            self._tasks[reader] = task
            task.add_done_callback(lambda _: self._is_done(reader))
        return reader

    def _ended(self, reader: Reader) -> None:
        """A reader has nobody to read for. Called twice."""
        if self._readers.get(reader.queue) is not reader:
            return
        del self._readers[reader.queue]
        project = owner_of(reader.queue.project)
        self._followed[project] -= 1
        if not self._followed[project]:
            del self._followed[project]
        self._passed_on += reader.passed_on
        if self._hearing is not None:
            self._hearing.unfollow(reader.queue)

    def _is_done(self, reader: Reader) -> None:
        self._ended(reader)
        del self._tasks[reader]
