"""How much was read of a queue's log, and what of it need not be kept any longer."""

from collections import deque
from collections.abc import Sequence

from nuska.core.late_messages import LateMessages
from nuska.core.live_bounds import LiveBounds
from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import BEFORE_ALL, Position, floor_at

FEWEST = 20
MOST = 500
"""Messages of a page."""
PAGE_BYTES = 1_048_576
"""Pages of more are made shorter."""
OF_A_MESSAGE = 500
"""Bytes beside its body and attributes, about."""
TENDED_PER_KEPT = 10
"""Whenever so large a part of what is kept at most has been read, the log is looked after."""
MILESTONE = 500
"""Messages."""
MOST_MILESTONES = 10_000


class Weights:
    def __init__(self, bounds: LiveBounds, longest_delay: Duration) -> None:
        self._bounds = bounds
        self._longest_delay = longest_delay
        self.limit = FEWEST
        """Messages of the next page."""
        self._seen = BEFORE_ALL
        """The last message that was read; the head may be where none stands."""
        self._messages = self._size = 0
        """Ever read; and where milestones stand, and when the log was looked after."""
        self._milestones: deque[tuple[Position, int, int]] = deque(maxlen=MOST_MILESTONES)
        self._tended = (0, 0)

    def add(self, page: Sequence[Message]) -> None:
        """It was read, the first time."""
        size = sum(len(m.body) + len(m.attributes or b"") + OF_A_MESSAGE for m in page)
        if size > PAGE_BYTES:
            self.limit = max(FEWEST, self.limit // 2)
        elif len(page) == self.limit:
            self.limit = min(MOST, 2 * self.limit)
        self._seen = page[-1].position
        self._messages += len(page)
        self._size += size
        last = self._milestones[-1][1] if self._milestones else 0
        if self._messages - last >= MILESTONE:
            self._milestones.append((self._seen, self._messages, self._size))

    @property
    def are_heavy(self) -> bool:
        """Much has been read since the log was looked after."""
        messages, size = self._tended
        return (self._messages - messages) * TENDED_PER_KEPT >= self._bounds.live_kept_messages or (
            self._size - size
        ) * TENDED_PER_KEPT >= self._bounds.live_kept_bytes

    def tended(self) -> None:
        """The log was looked after."""
        self._tended = (self._messages, self._size)

    def not_needed(self, settled: Moment, late: LateMessages) -> Position:
        """Up to where the log need not reach back: not for those who come back soon, and not for
        what is still delayed, or became due not long ago."""
        given = floor_at(settled) - 1
        while self._milestones:
            position, messages, size = self._milestones[0]
            few = self._messages - messages < self._bounds.live_kept_messages
            if few and self._size - size < self._bounds.live_kept_bytes:
                break
            given = max(given, position)
            self._milestones.popleft()
        given = min(given, self._seen)
        needed = late.oldest(settled)
        if needed is not None:
            given = min(given, needed - 1)
        if late.forgotten is not None or late.uncertain:
            given = min(given, floor_at(Moment(settled - self._longest_delay)) - 1)
        return Position(given)
