"""How what a project may still store is given out to nodes: the arithmetic.

Amounts stand side by side in tuples, since some are measured together (messages and their bytes);
limits beside them, None where there is none. A book says what was there when somebody measured,
and what was given out since. What nodes had been given before counts as measured: part of it they
may not have used yet, and that, one lot for each of the other nodes at most, is by how much the
limit can be exceeded.
"""

from msgspec import Struct
from msgspec.structs import replace

from nuska.domain.moments import Moment

Amounts = tuple[int, ...]
Limits = tuple[int | None, ...]

SHARES = 100
"""A lot is one of so many parts of the limit, or as much as one request wants."""


class Book(Struct, frozen=True, kw_only=True):
    """What is known of a project's use, and what was given out."""

    limits: Limits
    """By which it was made; under others it says nothing."""
    measured: Amounts
    given: Amounts
    """Since the book was begun."""
    before: Amounts
    """Of ``given``: what counts as measured."""
    begun: Moment = Moment(0)
    """Tells this book from one of the same project that was forgotten before."""
    noted: Moment = Moment(0)
    """When something was written in it last."""

    @property
    def used(self) -> Amounts:
        """What is there, and what may come of what was given out since."""
        counted = zip(self.measured, self.given, self.before, strict=True)
        return tuple(measured + given - before for measured, given, before in counted)


class Lease(Struct, frozen=True, kw_only=True):
    """What a node was given, if anything."""

    given: Amounts | None = None
    lacking: int | None = None
    """The place of the limit that left no room; None: nothing is known under these limits."""
    was_full: bool = False
    """What was measured left none. Else it is what was given out since: some of that may never be
    stored, or be the same thing that somebody else stores."""


def give(book: Book, least: Amounts, most: Amounts) -> tuple[Book, Lease]:
    """Give out between ``least`` and ``most`` of each, as far as there is room."""
    lacking = exceeded(book.used, least, book.limits)
    if lacking is not None:
        was_full = exceeded(book.measured, least, book.limits) is not None
        return book, Lease(lacking=lacking, was_full=was_full)
    room = (
        0 if limit is None else min(wanted, limit - used)
        for wanted, used, limit in zip(most, book.used, book.limits, strict=True)
    )
    given = tuple(map(max, least, room))
    return replace(book, given=plus(book.given, given)), Lease(given=given)


def measured_anew(book: Book | None, limits: Limits, held: Amounts, before: Amounts) -> Book:
    """The book after somebody has measured; ``before``: of ``given`` when he began."""
    given = before if book is None else tuple(map(max, book.given, before))
    begun = Moment(0) if book is None else book.begun
    return Book(limits=limits, measured=held, given=given, before=before, begun=begun)


def exceeded(used: Amounts, wanted: Amounts, limits: Limits) -> int | None:
    """Which limit, by its place, would be exceeded; None: none."""
    for place, (there, more, limit) in enumerate(zip(used, wanted, limits, strict=True)):
        if limit is not None and more > 0 and there + more > limit:
            return place
    return None


def lot(limits: Limits, wanted: Amounts) -> Amounts:
    """The most of each that a node may have in hand, or on its way, at a time."""
    shares = (0 if limit is None else limit // SHARES for limit in limits)
    return tuple(map(max, shares, wanted))


def plus(one: Amounts, other: Amounts) -> Amounts:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def minus(one: Amounts, other: Amounts) -> Amounts:
    """Never below nothing."""
    return tuple(max(0, a - b) for a, b in zip(one, other, strict=True))


def covers(one: Amounts, other: Amounts) -> bool:
    """Whether ``one`` is at least ``other`` everywhere."""
    return all(a >= b for a, b in zip(one, other, strict=True))
