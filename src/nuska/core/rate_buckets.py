"""A token bucket: it fills at a rate, holds a second's worth, and says how fast it is emptied."""

from nuska.domain.moments import Moment

SECOND = 1000
"""Milliseconds."""
UNKNOWN = 1.0
"""Seconds until there is something in a bucket that nothing fills now."""


class Bucket:
    """One rate of one project."""

    __slots__ = ("_asked", "_at", "_level", "_pace", "_since")

    def __init__(self, level: float, now: Moment) -> None:
        self._level = level
        self._at = self._since = now
        self._asked = 0
        self._pace = 0.0

    def take(self, rate: float, count: int, now: Moment) -> float | None:
        """Take so many; None, or, when there are not so many, about the seconds until there are.

        What is more than ever fits in is given to whoever finds it full, and paid off after.
        """
        # On the way of every request: written out rather than called.
        if now - self._since >= SECOND:
            self._roll(now)
        self._asked += count
        most = rate if rate > 1.0 else 1.0
        level = self._level + (now - self._at) * rate / SECOND
        if level > most:
            level = most
        self._at = now
        if level < count and level < most:
            self._level = level
            return (min(count, most) - level) / rate if rate else UNKNOWN
        self._level = level - count
        return None

    def level(self, rate: float, now: Moment) -> float:
        return min(holds(rate), self._level + (now - self._at) * rate / SECOND)

    def settle(self, rate: float, now: Moment, more: float) -> None:
        """It was filled at this rate so far; there are ``more`` in it."""
        self._level, self._at = self.level(rate, now) + more, now

    def asked(self, now: Moment) -> float:
        """About how many are asked for in a second."""
        self._roll(now)
        return max(self._pace, float(self._asked))

    def _roll(self, now: Moment) -> None:
        passed = now - self._since
        if passed >= SECOND:
            self._pace = self._asked * SECOND / passed
            self._since, self._asked = now, 0


def holds(rate: float) -> float:
    """A second's worth, but at least one."""
    return max(1.0, rate)
