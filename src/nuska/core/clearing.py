"""What follows from a purge, or the end of a queue, for those who are told of its messages.

The store empties the announcement log in the same step. What is on its way to subscribers by
then, to be tried again later, is given up: everything up to this position is told to nobody.
"""

from nuska.core.followings import Followings
from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.internal import Kind, internal
from nuska.domain.messages import QueueRef
from nuska.domain.positions import Position
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore


class Clearing:
    def __init__(
        self, store: SubscribableStore | None, followings: Followings, clock: Clock
    ) -> None:
        self._store = store
        self._followings = followings
        self._clock = clock

    async def mark(self, queue: QueueRef) -> Position | None:
        """Taken before the store empties the queue: what is posted later is owed to everybody."""
        if self._store is None:
            return None
        log = await self._store.announcements.state(queue, now=self._clock.now())
        return None if log is None else log.last

    async def cleared(
        self, queue: QueueRef, mark: Position | None, *, deleted: bool = False
    ) -> None:
        """The queue holds nothing now of what it held at ``mark``. If it was ``deleted``, what
        is known of past deliveries goes, too (I16)."""
        if self._store is None:
            return
        records = SubscriptionRecords(self._store.records)
        if await records.followed(queue) is None:
            return
        if mark is not None:
            await records.note_change(queue, cleared=mark)
            self._followings.changed(queue)
        # What waits to be repeated stays until it is due, and is passed over then: by now there
        # may be something newer among it.
        gone: tuple[Kind, ...] = ("attempts", "dead") if deleted else ()
        for kind in gone:
            await self._store.queues.delete(internal(kind, queue), now=self._clock.now())
