"""Which announcement logs are open, whether or not their queues exist, and wherever they lie.

A log is opened here first and then in the store of its queue; whoever makes a queue looks here
after its pin is written. So one of them sees the other. A log's version is that of its record:
stores give versions of their own, of which two could be alike.
"""

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.stores.pooled.catalogue import LOG_ENDS, LOGS, Catalogue, key_of

TRIES = 64
"""Of opening or closing a log while others open it, or its queue moves."""


class Logs:
    """The catalogue's word on logs."""

    def __init__(self, catalogue: Catalogue, own: PoolableStore) -> None:
        self._records = catalogue.records
        self._own = own

    async def version(self, queue: QueueRef) -> str | None:
        """The version of the queue's log, if it is open."""
        record = await self._records.get(LOGS, key_of(queue))
        return None if record is None else record.version

    async def open(self, queue: QueueRef) -> str:
        """Write down that the log is open; its new version."""
        for _ in range(TRIES):
            before = await self.version(queue)
            version = await self._records.put(LOGS, key_of(queue), b"", version=before or ABSENT)
            if version is not None:
                return version
        raise Unavailable("Too many open this log at once.")

    async def adopt(self, queue: QueueRef) -> str | None:
        """The version of a log that was found open in a store; one opened before there were
        pools is written down now."""
        await self._records.put(LOGS, key_of(queue), b"", version=ABSENT)
        return await self.version(queue)

    async def close(self, queue: QueueRef, version: str) -> bool:
        if not await self._records.remove(LOGS, key_of(queue), version=version):
            return False
        end = await self._records.get(LOG_ENDS, key_of(queue))
        if end is not None:
            await self._records.remove(LOG_ENDS, end.key, version=end.version)
        return True

    async def note_end(self, queue: QueueRef, last: Position) -> None:
        """The queue is being deleted: what is made again under its name begins above ``last``."""
        if await self.version(queue) is None:
            return
        for _ in range(TRIES):
            before = await self._records.get(LOG_ENDS, key_of(queue))
            if before is not None and int(before.value) >= last:
                return
            version = ABSENT if before is None else before.version
            if await self._records.put(LOG_ENDS, key_of(queue), b"%d" % last, version=version):
                return
        raise Unavailable("Too many delete this queue at once.")

    async def end(self, queue: QueueRef) -> Position:
        """The last position ever given under the name, if it is known and the log is open."""
        record = await self._records.get(LOG_ENDS, key_of(queue))
        return BEFORE_ALL if record is None else Position(int(record.value))

    async def wanted(self, queue: QueueRef, *, now: Moment) -> bool:
        """Whether a queue that is being made has an open log."""
        if await self.version(queue) is not None:
            return True
        try:
            before = await self._own.announcements.state(queue, now=now)
        except QueueAway:
            return False
        return before is not None and await self.adopt(queue) is not None
