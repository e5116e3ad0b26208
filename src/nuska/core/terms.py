"""What a queue's metadata means for a post or a claim, worked out once per change of it.

The store is asked every time, so a change counts from the next request on; only the
arithmetic on unchanged metadata is remembered.
"""

from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import QueueSettings, settings_of
from nuska.domain.queues import Metadata, Queue
from nuska.interfaces.storage import QueueStore

MAX_REMEMBERED = 10_000
"""Queues; when there are more, all are forgotten and worked out again."""

_NOTHING_SET: Metadata = {}
_NO_QUEUE = QueueRef("", "")


class Terms:
    def __init__(self, queues: QueueStore, limits: Limits) -> None:
        self._queues = queues
        self._limits = limits
        self._defaults = settings_of(_NO_QUEUE, _NOTHING_SET, limits)
        self._remembered: dict[QueueRef, tuple[Queue, QueueSettings]] = {}

    async def of(self, ref: QueueRef) -> QueueSettings:
        """The settings of a queue; the defaults for one that nobody created."""
        queue = await self._queues.get(ref)
        if queue is None or not queue.metadata:
            return self._defaults
        remembered = self._remembered.get(ref)
        # The very same record: a queue deleted and made anew starts at version 1 again.
        if remembered is not None and remembered[0] is queue:
            return remembered[1]
        settings = settings_of(ref, queue.metadata, self._limits)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[ref] = (queue, settings)
        return settings
