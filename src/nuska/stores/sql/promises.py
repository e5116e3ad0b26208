"""What a store demands of its database server's settings, and what it finds.

Each server has its own settings; what they promise is said in the same words. Nothing here
changes a setting of the server; a session's own may be set where that is enough.
"""

from typing import Protocol

from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncConnection

from nuska.interfaces.storage import Durability


class TooWeak(Exception):
    """The server promises less than is demanded; the argument says what is missing."""


class Promise(Struct, frozen=True, kw_only=True):
    """What an acknowledged write survives."""

    level: Durability
    sentence: str


class Demand(Protocol):
    """What every connection of a store must promise."""

    async def promise(self, connection: AsyncConnection) -> Promise:
        """What the server promises now; raises ``TooWeak`` when that is less than demanded."""
        ...
