"""What a store knows of itself: the version of its layout, and how far its time has come.

Each queue has a moment of its own, which is exact. The store's is noted now and then, so that
a node that starts goes on from about there.
"""

from pymongo import ReturnDocument

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Duration, Moment
from nuska.stores.mongodb.connection import Connection

LAYOUT = 1
NOTED_EVERY = Duration(1_000)
ID = "store"


class Timeline:
    """The store's document about itself."""

    def __init__(self, connection: Connection) -> None:
        self._about = connection.about
        self._noted = Moment(0)

    async def open(self, now: Moment) -> Moment:
        """Check the layout, and say how far time has come; refuses a newer layout."""
        found = await self._about.find_one_and_update(
            {"_id": ID},
            {"$setOnInsert": {"layout": LAYOUT}, "$max": {"moment": now}},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        assert found is not None, "it was made if it was not there"
        if found["layout"] > LAYOUT:
            raise Unavailable(
                f"The MongoDB store has been used by a newer version of Nuska: its layout is "
                f"{found['layout']}, and this Nuska knows {LAYOUT}. Upgrade this node."
            )
        self._noted = Moment(found["moment"])
        return self._noted

    async def note(self, now: Moment) -> None:
        """Write down ``now``, if it is worth a write."""
        if now >= self._noted + NOTED_EVERY:
            await self._about.update_one({"_id": ID}, {"$max": {"moment": now}})
            self._noted = now
