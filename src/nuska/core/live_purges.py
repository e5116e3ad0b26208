"""Notices that somebody, on any node, has removed the subscriptions of connections to a queue.

No store keeps those: they are a connection's. Their removal is noted in the record that says until
when the queue's log is kept (``core/live_logs.py``), and a hint goes to all nodes. A hint says
nothing of why it came, so whoever reads the queue looks at the record after one, but not more
often than once a second, however much is posted. Hints get lost: who looks after the log looks,
too.
"""

import asyncio
from collections.abc import Callable

from nuska.core.live_logs import LiveLogs
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment

OnPurge = Callable[[QueueRef, Moment], None]
LOOKED_FOR_EVERY = 1.0
"""Seconds."""


class Purges:
    """Of one queue."""

    def __init__(self, queue: QueueRef, logs: LiveLogs, on_purge: OnPurge) -> None:
        self._queue = queue
        self._logs = logs
        self._on_purge = on_purge
        self.last = Moment(0)
        """When those were removed that had begun to listen by then."""
        self._looked_at = float("-inf")
        self._hinted = False
        """Since the last look."""

    def hint(self) -> None:
        """Something has happened to the queue."""
        self._hinted = True

    @property
    def pause(self) -> float | None:
        """Seconds until a look is due for a hint that has come; None where none has."""
        if not self._hinted:
            return None
        return max(0.0, self._looked_at + LOOKED_FOR_EVERY - asyncio.get_running_loop().time())

    async def look_if_hinted(self) -> None:
        if self.pause == 0:
            await self.look()

    async def look(self) -> None:
        self._hinted = False
        self._looked_at = asyncio.get_running_loop().time()
        purged = await self._logs.purged(self._queue)
        if purged > self.last:
            self.last = purged
            self._on_purge(self._queue, purged)
