"""What a store knows of itself: the version of its layout, and its time.

Each queue has a moment of its own, which is exact. The store's is noted now and then, and what
nodes live by is the clock of the primary. Another primary's clock may differ, so whoever first
asks it after an election notes by how much: time goes on from where it was, neither standing
still nor leaping. Behind routers there is no one clock, and theirs have to agree.
"""

import time
from collections.abc import Awaitable, Callable

from bson.datetime_ms import DatetimeMS
from pymongo import ReturnDocument

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Duration, Moment
from nuska.stores.mongodb.connection import Connection
from nuska.stores.mongodb.records import Document

LAYOUT = 1
NOTED_EVERY = Duration(1_000)
REMEMBERED_FOR = Duration(30_000)
"""How long a node knows what time it must be without having asked."""
ID = "store"
ROUTERS = "routers"
TERMS_AT_ONCE = 3
"""Elections in a row that one question may meet."""

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def since_boot() -> int:
    """Milliseconds that passed on this machine, also while it slept; of no other meaning."""
    return time.clock_gettime_ns(_SINCE_BOOT) // 1_000_000


class Timeline:
    """The store's document about itself."""

    def __init__(self, connection: Connection, passed: Callable[[], int] = since_boot) -> None:
        self._connection = connection
        self._about = connection.about
        self._passed = passed
        self._noted = Moment(0)
        self._term = ""
        """The time in office of the primary whose clock is known."""
        self._shift = 0
        """Milliseconds by which it is behind the store's time."""
        self._last: tuple[int, int] | None = None
        """When we last asked, and what the store's time was."""

    async def open(self) -> Moment:
        """Check the layout, and say how far time has come; refuses a newer layout."""
        found = await self._about.find_one_and_update(
            {"_id": ID},
            {"$setOnInsert": {"layout": LAYOUT, "moment": 0}},
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

    async def time(self, ask: Callable[[], Awaitable[Document]]) -> Moment:
        """The store's time by the clock of whoever answers ``ask``, a ``hello``."""
        for _ in range(TERMS_AT_ONCE):
            hello = await ask()
            here = int(DatetimeMS(hello["localTime"]))
            term = _term_of(hello)
            if term != self._term:
                await self._begin(term, here)
                continue  # that took a while, so ask anew
            now = Moment(here + self._shift)
            self._last = (self._passed(), now)
            return now
        raise Unavailable("The MongoDB store elects one primary after the other.")

    async def _begin(self, term: str, here: int) -> None:
        """Agree with the other nodes on how the clock of a new primary is read."""
        about = await self._about.find_one({"_id": ID}) or {}
        if about.get("term") != term:
            expected = self._expected(about.get("moment", 0), here)
            noted = {"term": term, "shift": 0 if term == ROUTERS else expected - here}
            before = {"_id": ID, "term": about.get("term")}
            await self._about.update_one(before, {"$set": noted})
            about = await self._about.find_one({"_id": ID, "term": term}) or {}
        if about.get("term") == term:  # else somebody knows of a later one
            self._term, self._shift = term, about["shift"]

    def _expected(self, noted: int, here: int) -> int:
        """What the store's time must be now."""
        if self._last is not None:
            passed = self._passed() - self._last[0]
            if passed <= REMEMBERED_FOR:
                return self._last[1] + passed
        return max(noted, here)


def _term_of(hello: Document) -> str:
    """Different for each election; the same for all routers."""
    election = hello.get("electionId")
    return ROUTERS if election is None else f"{hello.get('me')} {election}"
