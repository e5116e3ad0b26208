"""A queue's announcement log: what was posted to it while somebody listened (D9).

Whoever tells others of new messages (subscriptions, live connections) reads the log, and not
the queue, whose messages workers take away meanwhile. A post writes to it in its own atomic
step, so an acknowledged message is in the log, and one that is not was never there.

- The log is opened and closed by name, and no post asks whether it is wanted: that is written
  beside the queue. It stays open when the queue is deleted: subscriptions outlive their queue.
- What stands in it is what was posted: id, position, body, attributes, poster, times. Claims,
  pops and deletes of messages do not touch it; a purge or the deletion of the queue empties it;
  what has expired is not there. Dead letters and messages from another store are not announced.
- A fenced queue's log answers nobody but the carrier, like the queue.
"""

from typing import Protocol, runtime_checkable

from msgspec import Struct

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import Position
from nuska.interfaces.storage import Store


class OpenLog(Struct, frozen=True, gc=False):
    """A log that is open."""

    version: str
    """Another one after every ``open``; no later log of the queue ever has it."""
    last: Position
    """Everything posted later gets a position above this; what a purge or the deletion of the
    queue has removed stands at or below it."""


class AnnouncementStore(Protocol):
    async def open(self, queue: QueueRef, *, now: Moment) -> OpenLog:
        """From now on keep what is posted to ``queue``, which need not exist and is not created.

        When the log is open already it gets another version, and nothing else changes.
        """
        ...

    async def state(self, queue: QueueRef, *, now: Moment) -> OpenLog | None:
        """The log if it is open, else None."""
        ...

    async def close(self, queue: QueueRef, *, version: str, now: Moment) -> bool:
        """Keep no longer what is posted, and drop what is there, unless somebody opened the log
        since it had this version: then False, and nothing changed."""
        ...

    async def page(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        """What was posted, by position, after ``after``; delayed messages too, with the moment
        at which they are due. Empty when the log is not open."""
        ...

    async def trim(self, queue: QueueRef, *, through: Position, now: Moment) -> bool:
        """Drop some of what stands at or below ``through``, oldest first, in one small step;
        whether there may be more of it."""
        ...


@runtime_checkable
class AnnouncingStore(Store, Protocol):
    """A store that keeps announcement logs."""

    @property
    def announcements(self) -> AnnouncementStore: ...
