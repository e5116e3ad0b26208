"""Dead letters whose queue is in another hash slot: kept by the source until they arrived.

The claim moved them into the source's outbox in its own step. From there they go to their
queue in the order of the outbox, which remembers the last that arrived from each source and
takes none twice; then they leave the outbox. Any node may do this, at any time, again.
"""

import logging
from struct import Struct

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.lane import Part
from nuska.stores.redis.names import queue_of_tag, tag

SIZES = Struct(">II")
DELIVERIES_AT_MOST = 100

logger = logging.getLogger("nuska.stores.redis")


class Outbox:
    """Delivers what is in the outbox of a queue."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def deliver_soon(self, queue: QueueRef, now: Moment) -> None:
        """Deliver now if it is possible; else the sweep does, and nothing is lost."""
        try:
            await self.deliver(queue, now)
        except Unavailable as error:
            logger.warning("dead letters wait in their queue", extra={"reason": str(error)})

    async def deliver(self, queue: QueueRef, now: Moment) -> None:
        """What is for a queue behind a fence stays where it is, and stops nothing else."""
        after: Part = ""
        away: dict[str, None] = {}
        for _ in range(DELIVERIES_AT_MOST):
            _, after, *rows = await self._calls.read("nuska_read_outbox", queue, now, after, *away)
            if not after:
                return
            letters: dict[str, list[Part]] = {}
            for place, row in zip(rows[::2], rows[1::2], strict=True):
                address, head, body = _parts(row)
                letters.setdefault(address, []).extend([place, head, body])
            for address, parts in letters.items():
                target = queue_of_tag(address)
                try:
                    await self._calls.write("nuska_take_letters", target, now, tag(queue), *parts)
                except QueueAway:
                    away[address] = None
                else:
                    await self._calls.maintain("nuska_clear_outbox", queue, now, *parts[::3])


def _parts(row: bytes) -> tuple[str, bytes, bytes]:
    """Where a letter goes, its head and its body."""
    address_size, head_size = SIZES.unpack_from(row)
    head_at = SIZES.size + address_size
    body_at = head_at + head_size
    return row[SIZES.size : head_at].decode(), row[head_at:body_at], row[body_at:]
