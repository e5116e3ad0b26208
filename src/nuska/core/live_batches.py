"""What was read of a log in one go, made ready for many receivers.

Every distinct filter looks at every message once, however many have it.
"""

from bisect import bisect_right
from collections.abc import Sequence

from nuska.core.listeners import Announced, Member
from nuska.domain.filters import Examined, Filter
from nuska.domain.positions import Position


class Batch:
    """Messages of a queue, by position, after ``after`` and up to ``through``, and what is to be
    passed on of them."""

    __slots__ = ("_chosen", "_examined", "after", "items", "looks", "through")

    def __init__(self, items: list[Announced], after: Position, through: Position) -> None:
        self.items = items
        self.after = after
        self.through = through
        self.looks = 0
        """Messages that filters have looked at."""
        self._examined: list[Examined] | None = None
        self._chosen: dict[bytes, Sequence[Announced]] = {}

    def wanted(self, wanted: Filter | None) -> Sequence[Announced]:
        """What a filter lets through."""
        if wanted is None:
            return self.items
        chosen = self._chosen.get(wanted.key)
        if chosen is None:
            if self._examined is None:
                self._examined = [
                    Examined(item.message.body, item.message.attributes) for item in self.items
                ]
            self.looks += len(self.items)
            both = zip(self.items, self._examined, strict=True)
            chosen = self._chosen[wanted.key] = [item for item, it in both if wanted.admits(it)]
        return chosen

    def give(self, member: Member) -> int:
        """Pass on what the member has not been told, and wants; how much that is."""
        at = member.at
        if at >= self.through:
            return 0
        member.at = self.through
        items = self.wanted(member.listening.filter)
        if at > self.after:
            items = items[bisect_right(items, at, key=_position) :]
        if items:
            member.listening.take(items)
        return len(items)


def _position(item: Announced) -> Position:
    return item.message.position
