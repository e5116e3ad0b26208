"""Where a queue lies: found, kept in memory, made and ended.

A pin in memory may be out of date; that does no harm, because a queue that has left a pool is
fenced there for longer than a pin is kept (``upkeep.py``): whoever comes is told, and looks
again. What takes several steps (making a queue, deleting it, carrying it) is written in the
pin first, with a moment after which others may finish or undo it, so that a node that dies in
the middle holds up one queue for ``OPERATION_AT_MOST``, and nothing for longer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from msgspec.structs import replace

from nuska.domain.errors import Conflict, InvalidInput, QueueAway, QueueMissing, Unavailable
from nuska.domain.internal import is_letter_box, is_of_the_service
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import FLAVOR_KEY
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.pools import OWN
from nuska.domain.positions import BEFORE_ALL, Position, floor_at
from nuska.domain.queues import Metadata
from nuska.interfaces.clock import Clock
from nuska.interfaces.pooling import Outline, PoolableStore
from nuska.stores.pooled.catalogue import Catalogue, Pin, SeenPin
from nuska.stores.pooled.lines import Lines, Place
from nuska.stores.pooled.logs import Logs
from nuska.stores.pooled.pools import Pools

T = TypeVar("T")

PIN_KEPT = 10.0
"""Seconds for which a pin in memory is used."""
PIN_KEPT_AT_NEED = 40.0
"""Seconds for which it is used while the catalogue's store does not answer; less than a queue
that has left stays fenced (``clearing.REMAINS_KEPT``)."""
PINS_KEPT = 100_000
OPERATION_AT_MOST = Duration(10_000)
"""A step of making or deleting a queue is over by then, or its node is dead."""
PATIENCE = 8.0
"""Seconds a request waits for a queue that is being carried; then it gets a 503."""
FIRST_PAUSE = 0.005
LONGEST_PAUSE = 0.2
DELETED_MEANWHILE = 8
"""Times that a queue of the service is made for one write."""

AT_HOME = Pin(pool=OWN, state="open")
"""Where the service's own queues lie, which are in no catalogue."""

Use = Callable[[PoolableStore], Awaitable[T]]


class NowhereError(Exception):
    """Nobody made the queue."""


class Placing:
    """Finds the store of a queue for whoever uses it."""

    def __init__(self, catalogue: Catalogue, pools: Pools, clock: Clock) -> None:
        self.catalogue = catalogue
        self.pools = pools
        self.clock = clock
        self.logs = Logs(catalogue, pools.own)
        self._kept: OrderedDict[QueueRef, tuple[Pin, float]] = OrderedDict()
        self._lines = Lines()

    async def use(self, queue: QueueRef, use: Use[T], *, otherwise: T) -> T:
        """What ``use`` says of the store that the queue lies in; ``otherwise``, when it lies in
        none."""
        try:
            return await self._patiently(queue, use, make=False, now=Moment(0))
        except NowhereError:
            return otherwise

    async def write(self, queue: QueueRef, use: Use[T], *, now: Moment) -> T:
        """As ``use``; a queue that lies nowhere is made first."""
        if is_of_the_service(queue.project):
            return await self._write_at_home(queue, use, now=now)
        return await self._patiently(queue, use, make=True, now=now)

    async def post(self, queue: QueueRef, use: Use[T], *, now: Moment) -> T:
        """As ``write``; those of one queue reach its store in the order in which they came."""
        if is_of_the_service(queue.project):
            return await self._write_at_home(queue, use, now=now)
        with self._lines.place(queue) as place:
            return await self._patiently(queue, use, make=True, now=now, place=place)

    async def _write_at_home(self, queue: QueueRef, use: Use[T], *, now: Moment) -> T:
        own = self.pools.own
        for _ in range(DELETED_MEANWHILE):
            with suppress(QueueMissing):
                return await use(own)
            await own.queues.create(queue, {}, now=now)
        raise Unavailable("The queue is deleted again and again.")

    async def _patiently(
        self,
        queue: QueueRef,
        use: Use[T],
        *,
        make: bool,
        now: Moment,
        place: Place | None = None,
    ) -> T:
        """Try until the queue is not on its way any more, ``PATIENCE`` at most; in its ``place``
        where the order counts."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + PATIENCE, FIRST_PAUSE
        while True:
            if place is not None:
                await _its_turn(place, deadline)
            pin = await self.pin(queue)
            if pin is None and not make:
                raise NowhereError
            if pin is None:
                await self.make(queue, {}, relaxed=False, now=now)
                continue
            try:
                store = await self.pools.store(pin.pool)
                if place is not None:
                    await _its_turn(place, deadline)  # somebody may have come back meanwhile
                    place.leave()
                return await use(store)
            except (QueueAway, QueueMissing):
                self.drop(queue)
                if place is not None:
                    place.come_back()
            if loop.time() >= deadline:
                raise Unavailable("The queue is being moved to another pool.")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def drop(self, queue: QueueRef) -> None:
        """Look again next time."""
        self._kept.pop(queue, None)

    async def pin(self, queue: QueueRef) -> Pin | None:
        """Where the queue lies now, or did within ``PIN_KEPT``; None when nobody made it."""
        if is_of_the_service(queue.project):
            return AT_HOME
        kept = self._kept.get(queue)
        now = asyncio.get_running_loop().time()
        if kept is not None and now < kept[1] + PIN_KEPT:
            return kept[0]
        refuse_letter_boxes(queue.project)
        try:
            pin = await self._settled(queue)
        except Unavailable:
            if kept is not None and now < kept[1] + PIN_KEPT_AT_NEED:
                return kept[0]
            raise
        if pin is not None:
            self._keep(queue, pin, now)
        return pin

    def _keep(self, queue: QueueRef, pin: Pin, since: float) -> None:
        self._kept[queue] = (pin, since)
        self._kept.move_to_end(queue)
        if len(self._kept) > PINS_KEPT:
            self._kept.popitem(last=False)

    async def seen(self, queue: QueueRef) -> SeenPin | None:
        """The pin as it is, whatever is being done; for a queue of the own store from before
        there were pools, one that says so."""
        seen = await self.catalogue.pin(queue)
        if seen is None and await _lies_in(self.pools.own, queue):
            await self.logs.wanted(queue, now=self.clock.now())  # its log, if it has one
            return await self.catalogue.put_pin(queue, Pin(pool=OWN, state="open"), None) or (
                await self.catalogue.pin(queue)
            )
        return seen

    async def _settled(self, queue: QueueRef) -> Pin | None:
        """The pin, once nothing is half done; who should have finished it may be dead."""
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + PATIENCE, FIRST_PAUSE
        while True:
            seen = await self.seen(queue)
            if seen is None:
                return None
            pin = seen.pin
            overdue = pin.until <= self.clock.now()
            if pin.state == "open" or (pin.state == "moving" and not overdue):
                return pin
            if pin.state == "landing":
                await self.land(queue, seen)
            elif overdue:
                await self._clean_up(queue, seen)
            elif loop.time() >= deadline:
                raise Unavailable("The queue is being made, moved or deleted.")
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _clean_up(self, queue: QueueRef, seen: SeenPin) -> None:
        """What a node left half done is undone, or, if it was a deletion, finished."""
        if seen.pin.state == "moving":
            back = replace(seen.pin, state="landing", target=None)
            landed = await self.catalogue.put_pin(queue, back, seen)
            if landed is not None:
                await self.land(queue, landed)
        elif seen.pin.state == "making":
            await self._end(queue, seen, self.clock.now())
        else:
            await self._finish_going(queue, seen)

    async def land(self, queue: QueueRef, seen: SeenPin) -> None:
        """Open the queue where its pin says it is.

        It is fenced first, so that it has seen the epoch: a mover that was held up before it
        put its own fence there comes too late to.
        """
        store = await self.pools.store(seen.pin.pool)
        now = self.clock.now()
        with suppress(Conflict):  # somebody else has opened it
            await store.transfers.fence(queue, epoch=seen.pin.epoch, now=now)
        await store.transfers.open(queue, epoch=seen.pin.epoch, now=now)
        await self.catalogue.put_pin(queue, replace(seen.pin, state="open"), seen)

    async def make(
        self, queue: QueueRef, metadata: Metadata, *, relaxed: bool, now: Moment
    ) -> bool:
        """Create the queue in a pool of its flavor that answers; False, and nothing changed,
        when it exists."""
        if is_of_the_service(queue.project):
            return await self.pools.own.queues.create(queue, metadata, relaxed=relaxed, now=now)
        flavor = metadata.get(FLAVOR_KEY)
        down: set[str] = set()
        while await self._settled(queue) is None:
            pool = await self.pools.choose(flavor if isinstance(flavor, str) else None, down)
            try:
                store = await self.pools.store(pool)
                before = await store.transfers.outline(queue)
            except Unavailable:
                if pool == OWN:
                    raise
                down.add(pool)
                continue
            outline = Outline(
                metadata=metadata,
                relaxed=relaxed,
                base=BEFORE_ALL if before is None else before.last,
                last=BEFORE_ALL if before is None else before.last,
                epoch=0 if before is None else before.epoch + 1,
            )
            if await self._make_in(pool, queue, outline, now=now):
                return True
        return False

    async def _make_in(self, pool: str, queue: QueueRef, outline: Outline, *, now: Moment) -> bool:
        """``outline``: the queue to be, with the first epoch and the position after which it may
        begin, by what the pool has seen of that name."""
        store = await self.pools.store(pool)
        epoch = max(now, outline.epoch)
        making = Pin(pool=pool, state="making", epoch=epoch, until=after(now, OPERATION_AT_MOST))
        seen = await self.catalogue.put_pin(queue, making, None)
        if seen is None:
            return False
        if not await self.pools.takes(pool):  # it is being drained or removed
            await self.catalogue.remove_pin(queue, seen)
            await self.pools.known(afresh=True)
            return False
        there = await store.transfers.outline(queue)
        if there is not None and not there.fenced:
            # A queue of this name is there that the catalogue does not know: it is an older
            # one, or the store was in use before it became a pool.
            known = replace(making, state="open", epoch=max(epoch, there.epoch))
            if await self.logs.wanted(queue, now=now) and not there.logged:
                await store.announcements.open(queue, now=now)
            await self.catalogue.put_pin(queue, known, seen)
            return False
        start = Position(max(floor_at(now) - 1, outline.last))
        logged = await self.logs.wanted(queue, now=now)  # now that others can see the pin
        if logged:
            start = max(start, await self.logs.end(queue))
        outline = replace(outline, base=start, last=start, logged=logged)
        try:
            await store.transfers.begin(queue, outline, epoch=epoch, now=now)
        except Conflict:  # a clock ahead of ours ended an earlier queue of the name
            await self.catalogue.remove_pin(queue, seen)
            return False
        await store.transfers.open(queue, epoch=epoch, now=now)
        made = await self.catalogue.put_pin(queue, replace(making, state="open"), seen)
        return made is not None

    async def end(self, queue: QueueRef, *, now: Moment) -> None:
        """Delete the queue, wherever it lies."""
        if is_of_the_service(queue.project):
            await self.pools.own.queues.delete(queue, now=now)
            return
        self.drop(queue)
        while True:
            pin = await self._settled(queue)
            seen = None if pin is None else await self.catalogue.pin(queue)
            if seen is None:
                return
            if await self._end(queue, seen, now):
                self.drop(queue)
                return

    async def _end(self, queue: QueueRef, seen: SeenPin, now: Moment) -> bool:
        going = replace(
            seen.pin,
            state="going",
            epoch=max(seen.pin.epoch + 1, now),
            until=after(now, OPERATION_AT_MOST),
            target=None,
        )
        gone = await self.catalogue.put_pin(queue, going, seen)
        if gone is None:
            return False
        await self._finish_going(queue, gone)
        return True

    async def _finish_going(self, queue: QueueRef, seen: SeenPin) -> None:
        pin = seen.pin
        store = await self.pools.store(pin.pool)
        last = await self.bury(store, queue, pin.pool, pin.epoch)
        if last is not None:
            await self.logs.note_end(queue, last)
        await self.catalogue.remove_pin(queue, seen)

    async def bury(
        self, store: PoolableStore, queue: QueueRef, pool: str, epoch: int
    ) -> Position | None:
        """Leave an empty fenced queue, for those who think that it still lies there; the last
        position given in it."""
        now = self.clock.now()
        await self.catalogue.note_remains(queue, pool, epoch, now)
        try:
            await store.transfers.fence(queue, epoch=epoch, now=now)
            outline = await store.transfers.outline(queue)
            last = floor_at(now) if outline is None else outline.last
            empty = Outline(metadata={}, relaxed=False, base=last, last=last)
            await store.transfers.begin(queue, empty, epoch=epoch, now=now)
        except Conflict:
            return None  # somebody has finished this, and more has happened since
        return last


def refuse_letter_boxes(project: str) -> None:
    """Every store has letter boxes of its own, so that nobody can mean one by its name."""
    if is_letter_box(project):
        raise InvalidInput("A project's id has no such control characters.")


async def _its_turn(place: Place, deadline: float) -> None:
    try:
        await place.first(deadline)
    except TimeoutError:
        raise Unavailable("Those who posted to the queue before wait for its store.") from None


async def _lies_in(store: PoolableStore, queue: QueueRef) -> bool:
    try:
        return await store.queues.get(queue) is not None
    except QueueAway:
        return False
