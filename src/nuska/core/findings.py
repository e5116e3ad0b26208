"""What was found of projects' use when it was measured last: for metrics, which must not measure.

Of limited things only, and of a bounded number of them; of more, those that were measured last.
Nothing is decided by this.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress

from msgspec import Struct

from nuska.core.quotas import QuotaBook
from nuska.domain.allowances import Amounts
from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.clock import Clock

MOST = 200
"""Limits of projects."""


class Found(Struct, frozen=True, gc=False):
    project: str
    name: str
    """Of the limit, in ``domain/quotas.py``."""
    amount: int
    age: float
    """Seconds since."""


class Findings:
    def __init__(self, book: QuotaBook, clock: Clock) -> None:
        self._book = book
        self._clock = clock
        self._found: OrderedDict[tuple[str, str], tuple[int, Moment]] = OrderedDict()

    def note(self, project: str, names: tuple[str, ...], amounts: Amounts) -> None:
        """So much was there just now of each; what has no limit may not have been looked at."""
        with suppress(Unavailable):  # the time is the store's, and not known now
            now = self._clock.now()
            for name, amount in zip(names, amounts, strict=True):
                if self._is_limited(project, name):
                    self._found[project, name] = amount, now
                    self._found.move_to_end((project, name))
            while len(self._found) > MOST:
                self._found.popitem(last=False)

    def all(self) -> Iterator[Found]:
        with suppress(Unavailable):
            now = self._clock.now()
            for (project, name), (amount, at) in self._found.items():
                if self._is_limited(project, name):
                    yield Found(project, name, amount, (now - at) / 1000)

    def _is_limited(self, project: str, name: str) -> bool:
        return getattr(self._book.of(project), name) is not None
