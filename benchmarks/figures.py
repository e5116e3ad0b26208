"""A figure: what was measured, what it must reach, and whether it does.

Nothing here measures; a figure without a target is information and passes nothing.
"""

import statistics
from collections.abc import Sequence
from enum import Enum

from msgspec import Struct

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Bound(Enum):
    """Which side of the target is the good one."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


class Target(Struct, frozen=True):
    bound: Bound
    value: float

    def met_by(self, value: float) -> bool:
        if self.bound is Bound.AT_LEAST:
            return value >= self.value
        return value <= self.value

    def margin(self, value: float) -> float:
        """How often the target fits into the figure: 1 is just met, 2 is twice as good."""
        worse, better = (self.value, value) if self.bound is Bound.AT_LEAST else (value, self.value)
        return better / worse if worse > 0 else float("inf")


def at_least(value: float) -> Target:
    return Target(Bound.AT_LEAST, value)


def at_most(value: float) -> Target:
    return Target(Bound.AT_MOST, value)


class Figure(Struct, frozen=True, kw_only=True):
    """One row of the table."""

    phase: str
    name: str
    value: float
    unit: str
    """``×`` for a ratio, else ``/s``, ``ms``, ``MB``, ``s``, ``%``."""
    target: Target | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met_by(self.value)


def ratio_of_rounds(measured: Sequence[float], reference: Sequence[float]) -> float:
    """The median of the ratios of rounds that ran next to each other.

    A machine that slows down for a while slows both sides of a round, so that the ratio of a
    round says more than the ratio of two medians.
    """
    pairs = [a / b for a, b in zip(measured, reference, strict=True) if b > 0]
    if not pairs:
        raise ValueError("no round in which the reference did anything")
    return statistics.median(pairs)


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that ``percent`` of all are not above."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def counted(count: int) -> str:
    """A count as people write it: ``10⁶``, ``2 000``."""
    digits = str(count)
    if count >= 100 and digits.strip("0") == "1":
        return "10" + str(len(digits) - 1).translate(_SUPERSCRIPTS)
    return f"{count:,}".replace(",", " ")


def shown(value: float, unit: str) -> str:
    """A value as people read it: three digits that count, then the unit."""
    if value != value or value in (float("inf"), float("-inf")):
        return f"{value} {unit}"
    if abs(value) >= 1000:
        text = f"{value:,.0f}".replace(",", " ")
    elif abs(value) >= 100:
        text = f"{value:.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {unit}" if unit not in ("×", "/s") else f"{text}{unit}"
