"""Quotas on what a project stores: room is taken before something is stored, or it is refused.

Where the limits are, how much there is, and what a node may give out by itself is known elsewhere
(``core/quotas.py``, ``core/holdings.py``, ``core/allowances.py``); here is which action needs room
for what. Only what a caller asks for needs any. What the service moves by itself (dead letters,
redriven messages, queues carried to another pool, messages put back) is never refused, and counts
from the next time that the project's holdings are measured.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import NamedTuple
from weakref import WeakValueDictionary

from nuska.core.allowances import Allowance
from nuska.core.findings import Findings
from nuska.core.holdings import Holdings
from nuska.core.ledgers import LocalLedger, SharedLedger
from nuska.core.quotas import QuotaBook
from nuska.domain.allowances import Amounts, Limits, minus
from nuska.domain.errors import (
    Conflict,
    InvalidInput,
    NotAllowed,
    NotFound,
    QuotaExceeded,
    Unavailable,
)
from nuska.domain.internal import owner_of
from nuska.domain.messages import NewMessage, QueueRef
from nuska.ending import ended
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import RecordStore
from nuska.interfaces.storage import QueueStore

KEPT = 10_000
"""Allowances in memory; of more, those that nobody has needed for longest are measured anew."""
SHOWN_FOR = 1.0
"""Seconds for which what was shown of a project's use is shown again."""
EVERYTHING = 0
"""A limit by which all is measured, and to the last."""
SHOWING_RESTS = 4.0
"""And for so many times what it took to find out."""

Names = tuple[str, ...]
"""Of limits whose stock is measured in one go."""
QUEUES: Names = ("queues",)
POSTED: Names = ("messages", "bytes")
SUBSCRIPTIONS: Names = ("subscriptions",)
CLAIMS: Names = ("claims",)


class Room:
    """Taken, for one thing that is about to be stored."""

    stored = True
    """Set to False when nothing was stored after all."""
    claims = 1
    """For so many there is room."""
    unused = 0
    """Set to how many of them were not made after all."""


class Shown(NamedTuple):
    """A project's use, and until when it need not be measured again."""

    use: Mapping[str, int]
    until: float


class Usage:
    """Of one process. Implements ``Meter``."""

    def __init__(
        self,
        book: QuotaBook,
        holdings: Holdings,
        queues: QueueStore,
        clock: Clock,
        shared: RecordStore | None,
    ) -> None:
        """``shared``: records of all nodes; None where one process has the store to itself."""
        self._book = book
        self._queues = queues
        self._clock = clock
        self._shared = shared
        self.findings = Findings(book, clock)
        """For metrics."""
        self._measure: dict[Names, Callable[[str, Limits], Awaitable[Amounts]]] = {
            QUEUES: holdings.queues,
            POSTED: holdings.posted,
            SUBSCRIPTIONS: holdings.subscriptions,
            CLAIMS: holdings.claims,
        }
        self._kept: OrderedDict[tuple[str, Names], Allowance] = OrderedDict()
        self._shown: OrderedDict[str, Shown] = OrderedDict()
        self._showing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def is_limited(self) -> bool:
        """Whether any project has a limit; else nobody need take room."""
        return self._book.limits_stock

    @asynccontextmanager
    async def for_queue(self, queue: QueueRef, *, counted: bool = True) -> AsyncIterator[None]:
        """For a queue or topic that is made unless it is there. ``counted``: see ``for_post``."""
        project = owner_of(queue.project)
        async with AsyncExitStack() as stack:
            if self._limits(project, QUEUES) and await self._queues.get(queue) is None:
                try:
                    room = self._room(project, QUEUES, (1,), counted=False)
                    await stack.enter_async_context(room)
                except QuotaExceeded as error:
                    if await self._queues.get(queue) is None:
                        if counted:
                            self.refused(queue, error)
                        raise
                    # Somebody else has made it while this waited for its turn.
            yield

    @asynccontextmanager
    async def for_post(
        self, queue: QueueRef, messages: Sequence[NewMessage], *, counted: bool = True
    ) -> AsyncIterator[Room]:
        """For messages as they are to be stored, and their queue. Unless ``counted``, it is the
        caller who says ``refused`` when there is no room for what does need it."""
        if not self.is_limited:
            yield Room()
            return
        size = sum(len(one.body) + len(one.attributes or b"") for one in messages)
        async with (
            self.for_queue(queue, counted=counted),
            self._room(
                owner_of(queue.project), POSTED, (len(messages), size), counted=counted
            ) as room,
        ):
            yield room

    @asynccontextmanager
    async def for_subscription(self, queue: QueueRef) -> AsyncIterator[None]:
        async with self._room(owner_of(queue.project), SUBSCRIPTIONS, (1,)):
            yield

    @asynccontextmanager
    async def for_claims(self, queue: QueueRef, count: int) -> AsyncIterator[Room]:
        """For ``count`` claims, or for fewer of them where there is room for no more."""
        async with AsyncExitStack() as stack:
            while True:
                room_of = self._room(queue.project, CLAIMS, (count,), least=(1,))
                try:
                    room = await stack.enter_async_context(room_of)
                    break
                except QuotaExceeded:
                    if count == 1:
                        raise
                count //= 2
            room.claims = count
            yield room

    def refused(self, queue: QueueRef, error: QuotaExceeded) -> None:
        """For metrics: something of the queue was refused."""
        self._book.count_refusal(error.what, owner_of(queue.project))

    def free(self, queue: QueueRef) -> None:
        """Something of the queue, or all of it, was taken away."""
        if self._kept:
            project = owner_of(queue.project)
            for names in self._measure:
                allowance = self._kept.get((project, names))
                if allowance is not None:
                    allowance.free()

    async def close(self) -> None:
        """Before the store is closed, when nobody asks for room any more."""
        measuring = (one.measuring for one in self._kept.values())
        await ended(*(task for task in measuring if task is not None))

    async def use(self, project: str) -> Mapping[str, int]:
        """What the project has now, or had a moment ago; without what cannot be measured while a
        part of the store is down."""
        loop = asyncio.get_running_loop()
        async with self._showing.setdefault(project, asyncio.Lock()):
            shown = self._shown.get(project)
            if shown is None or loop.time() >= shown.until:
                begun = loop.time()
                use: dict[str, int] = {}
                for names in self._measure:
                    with suppress(Unavailable):
                        found = await self._look(names, project, (EVERYTHING,) * len(names))
                        use |= dict(zip(names, found, strict=True))
                rest = max(SHOWN_FOR, SHOWING_RESTS * (loop.time() - begun))
                shown = self._shown[project] = Shown(use, loop.time() + rest)
                self._shown.move_to_end(project)
                if len(self._shown) > KEPT:
                    self._shown.popitem(last=False)
            return shown.use

    @asynccontextmanager
    async def _room(
        self,
        project: str,
        names: Names,
        wanted: Amounts,
        least: Amounts | None = None,
        *,
        counted: bool = True,
    ) -> AsyncIterator[Room]:
        """``least``: who is refused more will ask for less, down to that. ``counted``: among the
        refusals in the metrics, should there be no room."""
        room = Room()
        limits = self._limits(project, names)
        if not limits:
            yield room
            return
        allowance = self._allowance(project, names)
        try:
            taken = await allowance.take(wanted, limits)
        except QuotaExceeded as error:
            if counted and (least is None or wanted == least):
                self._book.count_refusal(error.what, project)
            raise
        try:
            yield room
        except (InvalidInput, NotAllowed, NotFound, Conflict):
            room.stored = False
            raise
        finally:
            if room.unused:
                unused = (room.unused,)
                allowance.settle(unused, stored=False)
                taken = minus(taken, unused)
            allowance.settle(taken, stored=room.stored)

    async def _look(self, names: Names, project: str, limits: Limits) -> Amounts:
        found = await self._measure[names](project, limits)
        self.findings.note(project, names, found)
        return found

    def _limits(self, project: str, names: Names) -> Limits:
        """Nothing where none of them has a limit."""
        quota = self._book.of(project)
        limits: Limits = tuple(getattr(quota, name) for name in names)
        return () if all(limit is None for limit in limits) else limits

    def _allowance(self, project: str, names: Names) -> Allowance:
        key = (project, names)
        allowance = self._kept.get(key)
        if allowance is None:
            ledger = (
                LocalLedger(len(names))
                if self._shared is None
                else SharedLedger(self._shared, self._clock, project, names[0], len(names))
            )
            self._make_room()
            allowance = self._kept[key] = Allowance(
                names, partial(self._look, names, project), ledger
            )
        self._kept.move_to_end(key)
        return allowance

    def _make_room(self) -> None:
        """For another: forget one that nobody needs at the moment."""
        if len(self._kept) >= KEPT:
            idle = next((key for key, one in self._kept.items() if one.is_idle), None)
            if idle is not None:
                del self._kept[idle]
