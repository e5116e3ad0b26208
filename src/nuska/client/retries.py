"""When a call that failed is sent again, and after how long. Decisions only: nothing here waits.

A call is sent again only where a second one cannot do harm. Reads, deletes and creations
come to the same end however often they arrive; a post carries an ``Idempotency-Key``, by
which the server knows it again. A claim or a pop that broke half-way may have taken
messages: those are repeated only when it is certain that nothing happened.
"""

import random
from dataclasses import dataclass
from enum import Enum, auto

from nuska.client.errors import (
    CannotConnect,
    ClientError,
    ConnectionBroken,
    DeadlinePassed,
    ErrorAnswer,
)

NOTHING_HAPPENED = frozenset({408, 429})
"""Refused before the request was looked at: the request came too slowly, or too often."""

TRY_LATER = frozenset({408, 429, 502, 503, 504})
"""The same request may succeed later; the 5xx among them may already have."""

_MOST_DOUBLINGS = 30  # past any sensible `longest`; keeps the product finite


class Repeat(Enum):
    """What a second arrival of the same request would do."""

    HARMLESS = auto()
    """The same as one."""
    HARMFUL = auto()
    """Something else, such as taking more messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how patiently a call is sent again; the call's deadline ends it in any case."""

    attempts: int = 5
    """Times a request is sent at most; 1 never retries."""
    first: float = 0.1
    """Seconds: the longest pause after the first failure."""
    longest: float = 5.0
    """Seconds: no pause of our own is longer. A longer ``Retry-After`` is respected."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first < 0 or self.longest < self.first:
            raise ValueError("a retry policy needs attempts >= 1 and 0 <= first <= longest")

    def pause(self, attempt: int, *, retry_after: float | None, dice: random.Random) -> float:
        """Seconds to wait after failed attempt number ``attempt``.

        A random share of a ceiling that doubles ("full jitter"), so that clients that failed
        together do not come back together. What the server asked for comes on top of that
        share, for the same reason.
        """
        ceiling = min(self.longest, self.first * float(1 << min(attempt - 1, _MOST_DOUBLINGS)))
        return (retry_after or 0.0) + ceiling * dice.random()


def may_repeat(error: ClientError, repeat: Repeat) -> bool:
    """Whether the request that ended in ``error`` may be sent again."""
    match error:
        case CannotConnect():
            return True
        case ConnectionBroken():
            return repeat is Repeat.HARMLESS
        case ErrorAnswer(final=True):
            return False
        case ErrorAnswer(status=status):
            worth_it = TRY_LATER if repeat is Repeat.HARMLESS else NOTHING_HAPPENED
            return status in worth_it
        case _:
            return False


def passes(error: ClientError) -> bool:
    """Whether the server may be well again later, for who can wait that long: until its operator
    has mended it, too."""
    match error:
        case ErrorAnswer(status=status):
            return status in TRY_LATER
        case _:
            return isinstance(error, CannotConnect | ConnectionBroken | DeadlinePassed)
