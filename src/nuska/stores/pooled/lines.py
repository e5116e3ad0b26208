"""Posts to one queue reach its store in the order in which they came, however long each of them has
to look for where the queue lies.

Whoever comes stands in the queue's line until he is handed over to the store; from there on the
order is the store's. One whom the store sends away stands where he stood before. Does not wait for
what the store does: those behind are handed over meanwhile.
"""

import asyncio
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from nuska.domain.messages import QueueRef


class Place:
    """Of one post in a line."""

    __slots__ = ("_line", "_number", "_turn")

    def __init__(self, line: "list[Place]", number: int) -> None:
        self._line = line
        self._number = number
        self._turn = asyncio.Event()
        self._line.append(self)

    def __lt__(self, other: "Place") -> bool:
        return self._number < other._number

    def come_back(self) -> None:
        """The store has sent it away."""
        insort(self._line, self)

    async def first(self, deadline: float) -> None:
        """Until nobody stands before it. Raises ``TimeoutError`` when that takes longer than to
        ``deadline``, in the loop's time."""
        line = self._line
        if line[0] is self:
            return
        async with asyncio.timeout_at(deadline):
            while line[0] is not self:
                self._turn.clear()
                await self._turn.wait()

    def leave(self) -> None:
        """Nothing is awaited any more before the store has it, or it has ended."""
        line = self._line
        if self in line:
            line.remove(self)
            if line:
                line[0]._turn.set()


class Lines:
    """One for each queue to which somebody posts."""

    def __init__(self) -> None:
        self._lines: dict[QueueRef, tuple[list[Place], int]] = {}
        self._numbers = count()

    @contextmanager
    def place(self, queue: QueueRef) -> Iterator[Place]:
        """At the end of the line of this queue."""
        line, users = self._lines.get(queue) or ([], 0)
        self._lines[queue] = line, users + 1
        place = Place(line, next(self._numbers))
        try:
            yield place
        finally:
            place.leave()
            line, users = self._lines[queue]
            if users > 1:
                self._lines[queue] = line, users - 1
            else:
                del self._lines[queue]
