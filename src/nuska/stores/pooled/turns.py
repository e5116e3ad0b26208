"""Openings and closings of the stores at a place, one after the other.

A store that one process has to itself refuses whoever opens it a second time. That would be taken
for a pool that is down, or for a URI that cannot be one. All URIs of a store have one place, as far
as anybody knows. Refuses to open anything itself.
"""

import asyncio
import logging
from weakref import WeakValueDictionary

from nuska.interfaces.pooling import PoolableStore

logger = logging.getLogger("nuska.stores.pooled")


class Turns:
    """Who may open the store at a place now, and what is being closed there.

    While somebody waits for a turn he holds no other, and takes none while he has one: so nobody
    waits for a turn that never comes.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._closings: dict[asyncio.Task[None], str] = {}

    def at(self, place: str) -> asyncio.Lock:
        """Whoever has it is alone in opening the store there. It is forgotten when nobody has
        it, nor waits for it."""
        return self._locks.setdefault(place, asyncio.Lock())

    def close(self, place: str, store: PoolableStore) -> None:
        """Begin to close what was opened there.

        Nobody can cut that short: a store that is closed by half keeps its file to itself.
        """
        closing = asyncio.create_task(_close(store), name="close the store of a pool")
        self._closings[closing] = place
        closing.add_done_callback(self._closings.pop)

    async def closed(self, place: str) -> None:
        """What was being closed there is."""
        closings = [closing for closing, at in self._closings.items() if at == place]
        if closings:
            await asyncio.wait(closings)

    async def all_closed(self) -> None:
        while self._closings:
            await asyncio.wait(list(self._closings))


async def _close(store: PoolableStore) -> None:
    try:
        await store.close()
    except Exception as error:
        logger.error("closing the store of a pool failed unexpectedly", exc_info=error)
