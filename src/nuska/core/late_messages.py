"""Which messages of a followed queue are delayed: when each becomes due, and where it stands.

Bounded: beyond ``MOST`` those that become due last are forgotten, and ``forgotten`` says from
which moment on the log has to be looked through again. Bodies are never here.
"""

from bisect import bisect_left, bisect_right, insort

from nuska.core.listeners import Late
from nuska.domain.moments import Moment
from nuska.domain.positions import BEYOND_ALL, Position

MOST = 20_000
"""Of one queue, and again as many that became due."""


class LateMessages:
    def __init__(self) -> None:
        self._coming: list[Late] = []
        self._over: list[Late] = []
        """They became due, and stay in the log for those who were away."""
        self.forgotten: Moment | None = None
        """What becomes due then or later is not all known."""
        self.uncertain = False
        """Some that became due were forgotten."""
        self.last: Late = (Moment(0), Position(0))
        """The last that was taken."""

    def __bool__(self) -> bool:
        return bool(self._coming) or self.forgotten is not None

    @property
    def next_at(self) -> Moment | None:
        """When the next becomes due, or the log has to be looked through again."""
        if self._coming:
            return self._coming[0][0]
        return self.forgotten

    def add(self, late: Late, told: Moment) -> None:
        """A delayed message was seen, once or several times; what became due up to ``told`` was
        passed on already."""
        if late[0] <= told:
            _add(self._over, late)
            if len(self._over) > MOST:
                del self._over[0]
                self.uncertain = True
        elif self.forgotten is None or late[0] < self.forgotten:
            _add(self._coming, late)
            if len(self._coming) > MOST:
                self.forgotten = self._coming[-1][0]
                del self._coming[bisect_left(self._coming, (self.forgotten, Position(0))) :]

    def due(self, now: Moment, most: int) -> list[Late]:
        """The first of those that are due, in their order."""
        return self._coming[: min(bisect_right(self._coming, (now, BEYOND_ALL)), most)]

    def take(self, due: list[Late]) -> None:
        """They were passed on."""
        del self._coming[: len(due)]
        for late in due:
            self.last = max(self.last, late)
            self.add(late, late[0])

    def needs_looking(self, now: Moment) -> bool:
        """Whether what is due now may be among what was forgotten."""
        return self.forgotten is not None and self.forgotten <= now and not self.due(now, 1)

    def look_again(self) -> None:
        """Everything is going to be seen once more."""
        self.forgotten = None

    def oldest(self, settled: Moment) -> Position | None:
        """The first position that has to stay in the log, if what became due up to ``settled``
        need not, nor what is not known here."""
        self._over = [late for late in self._over if late[0] > settled]
        return min((position for _, position in (*self._coming, *self._over)), default=None)


def _add(lates: list[Late], late: Late) -> None:
    index = bisect_left(lates, late)
    if index == len(lates) or lates[index] != late:
        insort(lates, late)
