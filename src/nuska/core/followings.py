"""Telling those who carry notifications out that the subscriptions of a queue have changed.

Hints only, like wake-ups: what is true is in the records, and who hears nothing finds it there.
"""

from collections.abc import Callable

from nuska.core.subscription_records import shard_of
from nuska.domain.internal import internal, origin
from nuska.domain.messages import QueueRef
from nuska.interfaces.notifications import Followers

Tell = Callable[[QueueRef, int], None]


def changes_in(shard: str) -> QueueRef:
    """What is told beside the queue itself: nobody may follow that yet."""
    return internal("subscriptions", QueueRef("", shard))


class Followings:
    """Passes a change on to those who follow here and, where there are some, to other nodes."""

    def __init__(self, tell: Tell | None = None) -> None:
        self._tell = tell
        self._followers: list[Followers] = []

    def add(self, followers: Followers) -> None:
        """From now on ``followers`` hear of every change."""
        self._followers.append(followers)

    def changed(self, queue: QueueRef) -> None:
        """The queue's subscriptions have changed here."""
        for followers in self._followers:
            followers.changed(queue)
        if self._tell is not None:
            self._tell(internal("subscriptions", queue), 1)
            self._tell(changes_in(shard_of(queue)), 1)

    def hear(self, told: QueueRef) -> None:
        """What another node told; anything but a change of subscriptions is passed over."""
        queue = origin(told, "subscriptions")
        if queue is not None:
            for followers in self._followers:
                followers.changed(queue)
