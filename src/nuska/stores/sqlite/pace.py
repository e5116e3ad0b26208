"""When a group of writes begins, and how much of the line it takes.

A commit costs the same for one write as for thirty, so it should be shared by many; and while
it waits for the disk the event loop should have others to serve. Left alone, groups become
one and all the rest in turn: whoever comes first after a commit starts the next by himself,
and everybody else, gathered behind him, leaves the loop without work during theirs.

So a group waits for about half of those who were there at the last commit, as long as they
keep coming, and when all are in line at once it takes half of them.
"""

WRITES_PER_SECOND = 10_000
"""What the event loop serves, about: halves pay if serving one takes as long as a commit."""
LONGEST_PAUSE = 0.001
"""Seconds that the first in line waits for others, at most, whoever else comes meanwhile."""
_SMOOTHING = 0.2
"""Weight of the last commit in the mean."""


class Pace:
    """What the last commits tell about the next."""

    def __init__(self) -> None:
        self._half = 0
        """Of those who were there at the last commit."""
        self._commit_seconds = 0.0
        """How long a commit takes, smoothed."""
        self._in_line = 0
        self._grew_at = 0.0
        self._waits_since: float | None = None
        """When the first of the next group was seen to be alone."""

    def committed(self, answered: int, in_line: int, seconds: float, now: float) -> None:
        """A commit has answered so many, and so many came meanwhile."""
        self._half = (answered + in_line + 1) // 2
        self._commit_seconds += _SMOOTHING * (seconds - self._commit_seconds)
        self._in_line = in_line
        self._grew_at = now
        self._waits_since = None

    def forget(self) -> None:
        """Nothing is known about the next commit: let it begin at once, with all in line."""
        self._half = 0
        self._waits_since = None

    def may_begin(self, in_line: int, now: float) -> bool:
        """Whether waiting for more writes is over."""
        if in_line >= self._half:
            return True
        if self._waits_since is None:
            self._waits_since = now
        if in_line > self._in_line:
            self._in_line = in_line
            self._grew_at = now
        nobody_comes = now - self._grew_at > self._commit_seconds / 2
        return nobody_comes or now - self._waits_since > LONGEST_PAUSE

    def share(self, in_line: int) -> int:
        """How many of those in line the group takes."""
        if self._half <= self._commit_seconds * WRITES_PER_SECOND:
            return in_line
        return max(self._half, in_line // 2)
