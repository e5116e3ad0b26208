"""Where it is written what a project was given of its quota: in memory where one process has the
store to itself, else in a record that all nodes change by compare-and-set.

| collection | key | value |
|---|---|---|
| ``usage`` | project · what is counted | ``Book`` |
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from nuska.domain.allowances import Amounts, Book, Lease, Limits, give, lot, measured_anew
from nuska.domain.errors import Unavailable
from nuska.domain.internal import key_of
from nuska.domain.moments import Duration, Moment
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, RecordStore

USAGE = "usage"
TRIES = 50
"""How often a book is written again that another node was faster with."""
PAUSE = 0.002
"""Seconds between two of these times, and more from time to time."""
KEPT = Duration(86_400_000)
"""How long a book is kept in which nothing is written. Without it the project is measured."""
ALL = 2**62
"""More than any limit: one process may have everything that is left."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Book).decode


class Ledger(Protocol):
    """One project's book of one kind of thing."""

    def lot(self, limits: Limits, wanted: Amounts) -> Amounts:
        """The most that this node may have in hand, or on its way, at a time."""
        ...

    async def lease(self, limits: Limits, least: Amounts, most: Amounts) -> Lease:
        """Between ``least`` and ``most`` of each, if there is room for that as far as is known."""
        ...

    async def given(self) -> Amounts:
        """All that was given out ever: ask before measuring, and tell ``measured`` of it."""
        ...

    async def measured(self, limits: Limits, held: Amounts, before: Amounts) -> None:
        """That much is there; ``before`` was given out when measuring began."""
        ...


class LocalLedger:
    """Of a store that one process has to itself."""

    def __init__(self, size: int) -> None:
        self._nothing = (0,) * size
        self._book: Book | None = None

    def lot(self, limits: Limits, wanted: Amounts) -> Amounts:  # noqa: ARG002  everything
        return (ALL,) * len(wanted)

    async def lease(self, limits: Limits, least: Amounts, most: Amounts) -> Lease:
        if self._book is None or self._book.limits != limits:
            return Lease()
        self._book, lease = give(self._book, least, most)
        return lease

    async def given(self) -> Amounts:
        return self._nothing if self._book is None else self._book.given

    async def measured(self, limits: Limits, held: Amounts, before: Amounts) -> None:
        self._book = measured_anew(self._book, limits, held, before)


class SharedLedger:
    """Of a store that several nodes have open."""

    def __init__(
        self, records: RecordStore, clock: Clock, project: str, kind: str, size: int
    ) -> None:
        self._records = records
        self._clock = clock
        self._key = key_of(project, kind)
        self._nothing = (0,) * size
        self._seen: Moment | None = None
        """When the book was begun whose ``given`` was told last; None: there was none."""

    def lot(self, limits: Limits, wanted: Amounts) -> Amounts:
        return lot(limits, wanted)

    async def lease(self, limits: Limits, least: Amounts, most: Amounts) -> Lease:
        lease = Lease()

        def write(book: Book | None) -> Book | None:
            nonlocal lease
            lease = Lease()
            if book is None or book.limits != limits:
                return None
            book, lease = give(book, least, most)
            return None if lease.given is None else book

        await self._change(write)
        return lease

    async def given(self) -> Amounts:
        record = await self._records.get(USAGE, self._key)
        book = None if record is None else _decode(record.value)
        self._seen = None if book is None else book.begun
        return self._nothing if book is None else book.given

    async def measured(self, limits: Limits, held: Amounts, before: Amounts) -> None:
        def write(book: Book | None) -> Book | None:
            if self._seen is not None and (book is None or book.begun != self._seen):
                # That book was forgotten meanwhile, and ``before`` says nothing about another: it
                # has to be measured again.
                return None
            return measured_anew(book, limits, held, before)

        await self._change(write)

    async def _change(self, write: Callable[[Book | None], Book | None]) -> None:
        """Put what ``write`` makes of the book in its place; nothing, when that is None."""
        for attempt in range(TRIES):
            record = await self._records.get(USAGE, self._key)
            book = write(None if record is None else _decode(record.value))
            if book is None:
                return
            now = self._clock.now()
            book = replace(book, noted=now, begun=now if record is None else book.begun)
            version = ABSENT if record is None else record.version
            if await self._records.put(USAGE, self._key, _encode(book), version=version):
                return
            await asyncio.sleep(PAUSE * attempt)
        raise Unavailable("The project's use keeps changing under this request.")


def is_over(value: bytes, now: Moment) -> bool:
    """Whether nobody has written in this book for so long that it is not worth keeping. Whoever
    still has something in hand of what it gave out may exceed the limit by no more than he may
    after any measuring: one lot."""
    return _decode(value).noted + KEPT <= now
