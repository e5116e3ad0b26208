"""What a queue's metadata means for a post or a claim.

The store is asked every time, so a change counts from the next request on; working out the
settings costs less than remembering them safely would.
"""

from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import QueueSettings, settings_of
from nuska.interfaces.storage import QueueStore

_NO_QUEUE = QueueRef("", "")


class Terms:
    def __init__(self, queues: QueueStore, limits: Limits) -> None:
        self._queues = queues
        self._limits = limits
        self._defaults = settings_of(_NO_QUEUE, {}, limits)

    async def of(self, ref: QueueRef) -> QueueSettings:
        """The settings of a queue; the defaults for one that nobody created."""
        queue = await self._queues.get(ref)
        if queue is None or not queue.metadata:
            return self._defaults
        return settings_of(ref, queue.metadata, self._limits)
