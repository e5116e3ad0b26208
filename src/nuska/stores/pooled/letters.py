"""Dead letters on their way to a queue that may lie in another pool (D8).

A claim moves them, in its own step, into a *letter box*: an internal queue of the same store,
which no caller can name. From there they are carried to their queue, which takes each once,
and only then removed from the box. Whoever carries may die at any point; the next one, at the
latest the upkeep, goes on. A list of all boxes is written before a box is first used.
"""

import asyncio
import logging

from nuska.domain.errors import Unavailable
from nuska.domain.internal import SEPARATOR, internal
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.clock import Clock
from nuska.interfaces.pooling import PoolableStore
from nuska.interfaces.records import ABSENT
from nuska.stores.pooled.catalogue import LETTER_BOXES, PAGE, key_of
from nuska.stores.pooled.placing import Placing
from nuska.stores.pooled.pools import identity_of

BOXES_REMEMBERED = 10_000
CARRIED_AT_ONCE = 100
CARRIAGES_AT_MOST = 1000

logger = logging.getLogger("nuska.stores.pooled")


def letter_box(queue: QueueRef) -> QueueRef:
    """The box for letters to ``queue``, in whichever store they set out."""
    return internal("letters", queue)


class Letters:
    """Carries letters between the stores of a catalogue."""

    def __init__(self, placing: Placing, clock: Clock) -> None:
        self._placing = placing
        self._clock = clock
        self._announced: dict[str, None] = {}
        self._carrying: dict[str, asyncio.Lock] = {}

    async def announce(self, store: PoolableStore, queue: QueueRef) -> None:
        """Write down that there may be letters to ``queue`` in ``store``."""
        key = self._key(store, queue)
        if key in self._announced:
            return
        records = self._placing.catalogue.records
        if await records.get(LETTER_BOXES, key) is None:
            await records.put(LETTER_BOXES, key, b"", version=ABSENT)
        while len(self._announced) >= BOXES_REMEMBERED:
            del self._announced[next(iter(self._announced))]
        self._announced[key] = None

    async def carry_soon(self, store: PoolableStore, queue: QueueRef) -> None:
        """Carry now if it is possible; else the upkeep does, and nothing is lost."""
        try:
            await self.carry(store, queue)
        except Unavailable as error:
            logger.warning("dead letters wait in their box", extra={"reason": error.description})

    async def carry(self, store: PoolableStore, queue: QueueRef) -> int:
        """Empty the box in ``store``; how many letters it held."""
        key = self._key(store, queue)
        lock = self._carrying.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                return await self._carry(store, queue)
        finally:
            if not lock.locked():
                self._carrying.pop(key, None)

    async def _carry(self, store: PoolableStore, queue: QueueRef) -> int:
        box = letter_box(queue)
        carried = 0
        for _ in range(CARRIAGES_AT_MOST):
            now = self._clock.now()
            page = await store.messages.page(box, after=BEFORE_ALL, limit=CARRIED_AT_ONCE, now=now)
            letters = page.messages
            if not letters:
                break
            # By the store, not the pool's name: another store under that name has positions of
            # its own, and what is below the last one from the first would be passed over.
            source = f"store {await identity_of(store.records)}"
            await self._deliver(queue, letters, source, now)
            await store.messages.delete_many(box, [letter.id for letter in letters], now=now)
            carried += len(letters)
        return carried

    async def _deliver(
        self, queue: QueueRef, letters: list[Message], source: str, now: Moment
    ) -> None:
        async def deliver(store: PoolableStore) -> None:
            await store.transfers.arrive(queue, letters, source=source, now=now)

        await self._placing.write(queue, deliver, now=now)

    async def carry_some(self, after: str) -> str:
        """Look into the boxes listed after ``after``; where to go on, ``""`` at the end."""
        records = await self._placing.catalogue.records.page(LETTER_BOXES, after=after, limit=PAGE)
        for record in records:
            pool, _, key = record.key.partition(SEPARATOR)
            project, _, name = key.rpartition(SEPARATOR)
            try:
                store = await self._placing.pools.store(pool)
            except Unavailable:
                continue  # a pool that is down; the other boxes do not wait for it
            await self.carry_soon(store, QueueRef(project, name))
        return records[-1].key if len(records) == PAGE else ""

    async def empty_boxes(self, pool: str) -> None:
        """Carry every letter that has yet to leave the store of a pool."""
        store = await self._placing.pools.store(pool)
        records = self._placing.catalogue.records
        start, after = f"{pool}{SEPARATOR}", f"{pool}{SEPARATOR}"
        end = f"{pool}{chr(ord(SEPARATOR) + 1)}"
        while page := await records.page(LETTER_BOXES, after=after, before=end, limit=PAGE):
            for record in page:
                project, _, name = record.key.removeprefix(start).rpartition(SEPARATOR)
                await self.carry(store, QueueRef(project, name))
            after = page[-1].key

    def _key(self, store: PoolableStore, queue: QueueRef) -> str:
        [pool] = [n for n, one in self._placing.pools.open_now.items() if one is store]
        return f"{pool}{SEPARATOR}{key_of(queue)}"
