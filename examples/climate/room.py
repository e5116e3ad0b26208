"""A room, as far as physics goes: it drifts to the temperature outside unless it is worked on.

Time runs faster here than outside, so that something happens while one looks.
"""

from dataclasses import dataclass

OUTSIDE = 31.0
"""Degrees Celsius; a hot day."""
LEAK = 0.02
"""Share of the difference to outside that is lost in a second."""
POWER = 0.9
"""Degrees in a second that an air conditioner adds or takes away."""
CLOSE_ENOUGH = 0.3
"""Degrees off the target at which an air conditioner rests."""


@dataclass
class Room:
    celsius: float
    target: float
    working: str = "off"
    """What the air conditioner does: off, cooling or heating."""

    def pass_time(self, seconds: float) -> None:
        off = self.celsius - self.target
        self.working = "off" if abs(off) < CLOSE_ENOUGH else "cooling" if off > 0 else "heating"
        push = {"off": 0.0, "cooling": -POWER, "heating": POWER}[self.working]
        self.celsius += ((OUTSIDE - self.celsius) * LEAK + push) * seconds
