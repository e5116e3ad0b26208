"""Time that moves when a test says so, and randomness that repeats."""

import random

from nuska.domain.moments import Moment
from nuska.interfaces.storage import RandomBytes

START = Moment(1_893_456_000_000)
"""2030-01-01T00:00:00Z."""


class ManualClock:
    """A ``Clock`` that stands still between calls of ``advance``."""

    def __init__(self, start: Moment = START) -> None:
        self._now = start

    def now(self) -> Moment:
        return self._now

    def advance(self, *, seconds: float = 0, milliseconds: int = 0) -> Moment:
        """``clock.advance(seconds=61)``; time never runs backwards."""
        step = round(seconds * 1000) + milliseconds
        if step < 0:
            raise ValueError("time does not run backwards")
        self._now = Moment(self._now + step)
        return self._now


def seeded_bytes(seed: int = 0) -> RandomBytes:
    """A repeatable stand-in for ``os.urandom``: one stream, however it is cut."""
    stream = random.Random(seed)
    return lambda count: bytes(stream.getrandbits(8) for _ in range(count))
