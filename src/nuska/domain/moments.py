"""Moments and durations: integer milliseconds, with the unit in the type.

Nothing here reads a clock; every function takes the moment it reasons about.
An interval is half-open: what ends at T is over at T. Seconds exist on the wire only.
"""

from datetime import UTC, datetime
from typing import NewType

Moment = NewType("Moment", int)
"""Milliseconds since 1970-01-01T00:00:00Z."""

Duration = NewType("Duration", int)
"""Milliseconds."""

LAST_MOMENT = Moment(253_402_300_799_000)
"""9999-12-31T23:59:59Z: no calendar that readers use goes further."""


def seconds(count: int) -> Duration:
    """``count`` whole seconds as a duration."""
    return Duration(count * 1000)


def whole_seconds(duration: int) -> int:
    """A duration as the wire shows it: whole seconds, rounded down, never negative."""
    return duration // 1000 if duration > 0 else 0


def after(moment: Moment, duration: Duration) -> Moment:
    """The moment ``duration`` after ``moment``."""
    return Moment(moment + duration)


def age_in_seconds(since: Moment, now: Moment) -> int:
    """Whole seconds from ``since`` to ``now``, as the wire shows an age."""
    return whole_seconds(now - since)


def iso(moment: Moment) -> str:
    """``YYYY-MM-DDTHH:MM:SSZ`` (contract lifecycle §1, ``created``)."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
