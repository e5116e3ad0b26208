"""Which generation each queue had when this node last saw it: a guess, and never more.

Whoever goes by it looks whether it was right before anything that depends on it comes about.
"""

from nuska.domain.messages import QueueRef
from nuska.stores.mongodb.headers import Header

REMEMBERED_AT_MOST = 10_000
"""Queues, of which those that were seen longest ago are forgotten first."""


class Generations:
    """What one node remembers."""

    def __init__(self) -> None:
        self._seen: dict[QueueRef, bytes] = {}

    def note(self, seen: Header) -> None:
        self._seen.pop(seen.ref, None)
        if seen.exists:
            self._seen[seen.ref] = seen.generation
        if len(self._seen) > REMEMBERED_AT_MOST:
            del self._seen[next(iter(self._seen))]

    def guess(self, queue: QueueRef) -> bytes | None:
        return self._seen.get(queue)
