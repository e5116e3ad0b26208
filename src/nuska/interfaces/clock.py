"""Time is passed in: nothing but the clock that ``opening.py`` makes reads one."""

from typing import Protocol

from nuska.domain.moments import Moment


class Clock(Protocol):
    def now(self) -> Moment:
        """The present on the store's timeline, in milliseconds. Never runs backwards."""
        ...
