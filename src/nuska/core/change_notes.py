"""Noting that the subscriptions of a queue have changed: once for all that change them together.

The note is one record for each queue, written by compare-and-set. Requests of one process that
come together share a write, as writers of messages do; only nodes can be in each other's way.
"""

import asyncio

from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.messages import QueueRef


class _Queue:
    """Those of this process who note changes of one queue now."""

    __slots__ = ("asked", "lock", "noted", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0
        self.asked = 0
        """How many have asked so far."""
        self.noted = 0
        """Of how many the change is in the record."""


class ChangeNotes:
    def __init__(self, records: SubscriptionRecords) -> None:
        self._records = records
        self._queues: dict[QueueRef, _Queue] = {}

    async def note(self, queue: QueueRef) -> None:
        """When this returns, what was changed before it began is noted."""
        state = self._queues.setdefault(queue, _Queue())
        state.users += 1
        state.asked += 1
        mine = state.asked
        try:
            async with state.lock:
                if state.noted < mine:
                    upto = state.asked
                    await self._records.note_change(queue)
                    state.noted = upto
        finally:
            state.users -= 1
            if not state.users:
                del self._queues[queue]
