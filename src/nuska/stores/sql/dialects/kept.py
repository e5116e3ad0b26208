"""The driver's own connections, for what is one statement or one block.

SQLAlchemy makes each of them, as it makes its own, and is not asked again: to take one from
its pool and give it back costs more than the server needs for the statement. Refuses to give
anybody a connection of which nobody knows what it is in the middle of.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from nuska.stores.sql.dialects.interface import CONNECTIONS


class Kept(Struct, eq=False):
    """A connection, which one at a time may use."""

    borrowed: Any
    """What SQLAlchemy knows it by."""
    driver: Any
    """The connection itself."""
    info: dict[Any, Any]
    """What is noted about it, by those who hear of its making too."""


class KeptConnections:
    """Up to ``CONNECTIONS``; more wait for one of them, as long as their own limit lets them."""

    def __init__(
        self, engine: AsyncEngine, usable: Callable[[Any], bool], end: Callable[[Any], None]
    ) -> None:
        """``engine`` has no pool of its own; ``usable`` says whether the server still listens on
        a connection that was idle, and ``end`` cuts one off."""
        self._engine = engine
        self._usable = usable
        self._end = end
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Kept] = []

    @asynccontextmanager
    async def one(self, *, harmless: tuple[type[BaseException], ...]) -> AsyncIterator[Kept]:
        """A connection; cut off after any error but those that are ``harmless``."""
        async with self._free:
            idle = self._idle
            kept = await self._take()
            try:
                yield kept
            except harmless:
                raise
            except BaseException:
                self._end(kept.driver)
                raise
            finally:
                if idle is self._idle and self._usable(kept.driver):
                    idle.append(kept)
                else:
                    await _close(kept)

    async def _take(self) -> Kept:
        while self._idle:
            kept = self._idle.pop()
            if self._usable(kept.driver):
                return kept
            await _close(kept)
        borrowed = await self._engine.raw_connection()
        return Kept(borrowed, borrowed.driver_connection, borrowed.info)

    async def close(self) -> None:
        """Let go of those that nobody uses, and of the others once they have been used."""
        idle, self._idle = self._idle, []
        for kept in idle:
            await _close(kept)


async def _close(kept: Kept) -> None:
    await greenlet_spawn(kept.borrowed.close)
