"""What has been read of announcement logs: pages in memory, bounded in bytes.

Deliveries that wait remember positions; bodies are here, and are read again where they are not.
A message is believed to stand in the log for a moment only, so that what has been purged is not
sent long after.
"""

from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position
from nuska.interfaces.announcing import AnnouncementStore
from nuska.interfaces.clock import Clock

BELIEVED_FOR = Duration(1_000)
FEWEST = 10
MOST = 200
"""Messages of a page."""
PAGE_BYTES = 1_048_576
"""Pages of more are made shorter."""
OF_A_MESSAGE = 500
"""Bytes beside its body and attributes, about."""
OF_A_PAGE = 1_000
"""Bytes beside its messages, about."""

Group = tuple[Moment, tuple[Position, ...]]
"""Messages of one post: when, and where they stand."""
Matches = Callable[[Message], bool]

_NONE: frozenset[Position] = frozenset()


class Page:
    """A stretch of a log, as it was when it was read."""

    __slots__ = ("_groups", "_latest", "after", "messages", "read_at", "size", "through")

    def __init__(self, after: Position, messages: list[Message], read_at: Moment) -> None:
        self.after = after
        self.through = messages[-1].position
        self.messages = {message.position: message for message in messages}
        self.read_at = read_at
        self.size = OF_A_PAGE + sum(
            len(m.body) + len(m.attributes or b"") + OF_A_MESSAGE for m in messages
        )
        self._groups: dict[str, list[Group]] = {}
        self._latest = max(message.available_at for message in messages)

    def not_due(self, now: Moment) -> frozenset[Position]:
        """Where messages stand that are delayed still."""
        if self._latest <= now:
            return _NONE
        return frozenset(p for p, m in self.messages.items() if m.available_at > now)

    def positions_for(self, key: str) -> frozenset[Position]:
        """What ``matching`` found for ``key``."""
        return frozenset(p for _, positions in self._groups[key] for p in positions)

    def matching(self, key: str, matches: Matches | None) -> list[Group]:
        """The posts, without what does not match. Worked out once for every ``key``."""
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = _grouped(
                [m for m in self.messages.values() if matches is None or matches(m)]
            )
        return found


def _grouped(messages: list[Message]) -> list[Group]:
    """Consecutive messages of one moment count as posted together: a log does not say where a post
    ends. Two posts within a millisecond are told one after the other then, which costs a little
    time and breaks no promise."""
    groups: list[tuple[Moment, list[Position]]] = []
    for message in messages:
        if groups and groups[-1][0] == message.created_at:
            groups[-1][1].append(message.position)
        else:
            groups.append((message.created_at, [message.position]))
    return [(moment, tuple(positions)) for moment, positions in groups]


def after_in(groups: list[Group], position: Position) -> list[Group]:
    """What of ``groups`` stands after ``position``."""
    left: list[Group] = []
    for moment, positions in groups:
        if positions[0] > position:
            left.append((moment, positions))
        elif positions[-1] > position:
            left.append((moment, positions[bisect_right(positions, position) :]))
    return left


class PageBudget:
    """How much all logs may keep in memory; what was used longest ago goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._pages: OrderedDict[Page, LogPages] = OrderedDict()
        self.bytes = 0

    def add(self, page: Page, owner: "LogPages") -> None:
        self._pages[page] = owner
        self.bytes += page.size
        while self.bytes > self._most and len(self._pages) > 1:
            old, its_owner = next(iter(self._pages.items()))
            its_owner.drop(old)

    def used(self, page: Page) -> None:
        self._pages.move_to_end(page)

    def remove(self, page: Page) -> None:
        if self._pages.pop(page, None) is not None:
            self.bytes -= page.size


class LogPages:
    """The announcement log of one queue."""

    def __init__(
        self, queue: QueueRef, store: AnnouncementStore, clock: Clock, budget: PageBudget
    ) -> None:
        self._queue = queue
        self._store = store
        self._clock = clock
        self._budget = budget
        self._pages: list[Page] = []
        """By their beginnings."""
        self._limit = FEWEST

    async def after(self, position: Position) -> Page | None:
        """A page with what comes after ``position``, perhaps with some before; None when
        nothing does. Need not be as the log is now."""
        page = self._find(position)
        if page is not None and position < page.through:
            self._budget.used(page)
            return page
        return await self._read(position)

    async def message(self, position: Position) -> Message | None:
        """The message that stands there now, or stood there a moment ago."""
        now = self._clock.now()
        page = self._find(Position(position - 1))
        if page is None or position > page.through or now - page.read_at >= BELIEVED_FOR:
            page = await self._read(Position(position - 1))
        return None if page is None else page.messages.get(position)

    def forget(self) -> None:
        """What was read may no longer be so."""
        for page in list(self._pages):
            self.drop(page)

    def drop(self, page: Page) -> None:
        self._budget.remove(page)
        index = bisect_left(self._pages, page.after, key=_beginning)
        if index < len(self._pages) and self._pages[index] is page:
            del self._pages[index]

    def _find(self, position: Position) -> Page | None:
        """The page that begins at ``position`` or last before it."""
        index = bisect_right(self._pages, position, key=_beginning)
        return self._pages[index - 1] if index else None

    async def _read(self, after: Position) -> Page | None:
        now = self._clock.now()
        messages = await self._store.page(self._queue, after=after, limit=self._limit, now=now)
        first = bisect_left(self._pages, after, key=_beginning)
        beyond = bisect_right(self._pages, _end(messages, after), key=_beginning)
        for page in self._pages[first:beyond]:
            self.drop(page)
        if not messages:
            return None
        page = Page(after, messages, now)
        if page.size > PAGE_BYTES:
            self._limit = max(FEWEST, self._limit // 2)
        elif len(messages) == self._limit:
            self._limit = min(MOST, 2 * self._limit)
        insort(self._pages, page, key=_beginning)
        self._budget.add(page, self)
        return page


def _beginning(page: Page) -> Position:
    return page.after


def _end(messages: list[Message], after: Position) -> Position:
    return messages[-1].position if messages else after
