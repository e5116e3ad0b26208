"""What the machine provides: the clock and chance. The only file that reads the time of day.

``SystemClock`` reads the wall clock once, at the start, and from then on the time since
boot, unless what was stored is already ahead of the wall clock: then it goes on from there.
So it never runs backwards, counts the time a suspended machine slept (a claim goes
on ageing), and does not notice when somebody sets the wall clock.
"""

import os
import time

from nuska.domain.moments import Moment

_NANOSECONDS = 1_000_000
"""In a millisecond."""

_SINCE_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux counts sleep in CLOCK_BOOTTIME; elsewhere CLOCK_MONOTONIC is the nearest there is."""


class SystemClock:
    """A ``Clock``: the wall time of its making plus what has passed since."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - time.clock_gettime_ns(_SINCE_BOOT)

    def go_on_from(self, latest: Moment) -> int:
        """Be at least at ``latest`` now; how many milliseconds were missing.

        A machine without a battery for its clock starts in the past, and one whose clock was
        wrong once has stored a future. Time passes all the same: claims end, messages expire.
        """
        missing = max(latest - self.now(), 0)
        self._offset += missing * _NANOSECONDS
        return missing

    def now(self) -> Moment:
        return Moment((self._offset + time.clock_gettime_ns(_SINCE_BOOT)) // _NANOSECONDS)


class Chance:
    """``os.urandom``, drawn in advance: most of what a small draw costs is the call itself.

    For the event loop's thread only, and not to be taken along by a fork: ids would repeat.
    """

    BLOCK = 4_096

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._block):
            if count > self.BLOCK:
                return os.urandom(count)
            self._block = os.urandom(self.BLOCK)
            end = count
        drawn = self._block[end - count : end]
        self._at = end
        return drawn
