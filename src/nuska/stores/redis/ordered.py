"""What is kept by time, asked for by name: pages of a sorted set in the order of its members.

Claims and remembered posts are sorted by their ends, and only a carrier wants them by id: an
index for that would cost every claim and every such post something. So the set is looked
through in small steps, and the members that come next are remembered for the next pages.
"""

from bisect import bisect_right
from collections import OrderedDict

from msgspec import Struct

from nuska.stores.redis.calls import Calls

KEPT = 100_000
"""Members remembered from one look through a set; the next look begins behind them."""
SETS_KEPT = 4
LOOKED_AT = 1000
"""Members asked for in one step."""


class Stretch(Struct, frozen=True):
    """Members that follow one another, all above ``after``."""

    after: bytes
    members: list[bytes]
    is_last: bool

    def tells(self, after: bytes) -> bool:
        """Whether it knows what follows ``after``."""
        if after < self.after:
            return False
        return self.is_last or after < self.members[-1]


class Ordered:
    """Members of sorted sets in their own order."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stretches: OrderedDict[str, Stretch] = OrderedDict()

    async def page(self, key: str, *, after: bytes, limit: int) -> list[bytes]:
        """Up to ``limit`` members above ``after``; a first page, after nothing, looks anew."""
        stretch = self._stretches.get(key)
        if stretch is None or not after or not stretch.tells(after):
            stretch = await self._look(key, after)
            self._remember(key, stretch)
        start = bisect_right(stretch.members, after)
        page = stretch.members[start : start + limit]
        if not page:
            self._stretches.pop(key, None)
        return page

    def _remember(self, key: str, stretch: Stretch) -> None:
        self._stretches[key] = stretch
        self._stretches.move_to_end(key)
        while len(self._stretches) > SETS_KEPT:
            self._stretches.popitem(last=False)

    async def _look(self, key: str, after: bytes) -> Stretch:
        """The least members above ``after``; what comes and goes meanwhile is seen or not."""
        found: set[bytes] = set()
        is_last, cursor = True, b"0"
        while True:
            cursor, members = await self._calls.command(
                key, "ZSCAN", key, cursor, "COUNT", LOOKED_AT
            )
            found.update(member for member in members[::2] if member > after)
            if len(found) > 2 * KEPT:
                found, is_last = set(sorted(found)[:KEPT]), False
            if cursor == b"0":
                break
        is_last = is_last and len(found) <= KEPT
        return Stretch(after, sorted(found)[:KEPT], is_last)
