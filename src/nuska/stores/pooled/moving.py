"""Carries a queue from one store to another while it is in use.

1. The pin says ``moving``, with a lease that is renewed on the way.
2. A large queue is loaded into the other store, fenced there, while it goes on being used.
3. The queue is fenced where it lies. From here on requests wait (``placing.PATIENCE``). What
   has changed meanwhile is loaded: claims, remembered posts, then messages by position, as they
   are; those of both stores are walked side by side, and only what differs is written. An
   announcement log only grows at its end, so what has been posted meanwhile is all it needs.
4. One compare-and-set of the pin makes the other store the one where it lies. Until then the
   first store has everything, and whoever finds the lease run out goes back to it; from then
   on the other one has, and whoever comes opens it.
5. The fence there is taken away, and what remains in the first store is cleared away.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Struct
from msgspec.structs import replace

from nuska.domain.errors import Conflict, InvalidInput, NotFound, QueueAway, Unavailable
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.pools import OWN
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.clock import Clock
from nuska.interfaces.pooling import Outline, PoolableStore, TransferStore
from nuska.stores.pooled.catalogue import Pin, SeenPin
from nuska.stores.pooled.placing import Placing
from nuska.stores.pooled.pools import identity_of

LEASE = Duration(4000)
"""How long a move may be silent before others undo it; less than requests wait for it."""
CARRIED_AT_ONCE = 500
FIRST_CARRIED = 50
BYTES_AT_ONCE = 4 * 1024 * 1024
"""About how much of bodies is carried at once; what comes next is taken to be as large."""
LARGE = 200
"""A queue that holds so many messages is loaded before it is fenced."""

Progress = Callable[[int], None]
"""Told how many more messages have been carried."""


class Way(Struct, frozen=True):
    """One move under way."""

    queue: QueueRef
    source: PoolableStore
    target: PoolableStore
    epoch: int


class Mover:
    """Moves queues between the stores of a catalogue."""

    def __init__(self, placing: Placing, clock: Clock) -> None:
        self._placing = placing
        self._clock = clock

    async def move(self, queue: QueueRef, target: str, progress: Progress = lambda _: None) -> bool:
        """Carry the queue to the pool; False when it lies there already, or nowhere.

        ``Unavailable`` when a store does not answer, or another move of the queue is under
        way: nothing is lost then, and it may be tried again.
        """
        await self._placing.pin(queue)  # finishes, or undoes, what is overdue
        self._placing.drop(queue)
        seen = await self._placing.seen(queue)
        if seen is None or seen.pin.pool == target:
            return False
        if seen.pin.state != "open":
            raise Unavailable("Something else is being done with the queue.")
        source_store = await self._placing.pools.store(seen.pin.pool)
        target_store = await self._placing.pools.store(target)
        if await identity_of(source_store.records) == await identity_of(target_store.records):
            # Beginning there would wipe what is here.
            raise InvalidInput(f"The pool {target} is the store in which the queue lies.")
        now = self._clock.now()
        there = await target_store.transfers.outline(queue)
        epoch = max(seen.pin.epoch + 1, now, 0 if there is None else there.epoch + 1)
        moving = Pin(
            pool=seen.pin.pool,
            state="moving",
            epoch=epoch,
            until=after(now, LEASE),
            target=target,
        )
        mine = await self._placing.catalogue.put_pin(queue, moving, seen)
        if mine is None:
            raise Unavailable("Something else is being done with the queue.")
        await self._carry(Way(queue, source_store, target_store, epoch), mine, progress)
        return True

    async def _carry(self, way: Way, mine: SeenPin, progress: Progress) -> None:
        try:
            await self._check_target(mine.pin.target or "")
            lease = _Lease(self._placing, self._clock, way.queue, mine)
            await self._note(way, mine.pin.target or "")
            dropped = await self._load(way, lease, progress)
            await self._note(way, mine.pin.pool)
            landing = Pin(pool=mine.pin.target or "", state="landing", epoch=way.epoch)
            landed = await self._placing.catalogue.put_pin(way.queue, landing, lease.seen)
            if landed is None:
                raise Unavailable("The move took too long and was undone.")
        except (Conflict, NotFound) as error:
            await asyncio.shield(self._undo(way, mine))
            raise Unavailable("The queue was deleted or moved by others meanwhile.") from error
        except BaseException:
            await asyncio.shield(self._undo(way, mine))
            raise
        await self._placing.land(way.queue, landed)
        if dropped != BEFORE_ALL:
            await self._trim(way, dropped)
        self._placing.drop(way.queue)
        await self._placing.bury(way.source, way.queue, mine.pin.pool, way.epoch)
        await self._placing.catalogue.unlist(mine.pin.pool, way.queue)

    async def _note(self, way: Way, pool: str) -> None:
        """What this move leaves in a store that the queue does not lie in is cleared away even
        if we die now."""
        await self._placing.catalogue.note_remains(way.queue, pool, way.epoch, self._clock.now())

    async def _check_target(self, target: str) -> None:
        """Whoever removes a pool looks for pins that name it when its record is gone; whoever
        writes such a pin looks for the record then. So one of them sees the other."""
        if target != OWN and await self._placing.catalogue.pool(target) is None:
            raise Unavailable(f"The pool {target} has been removed.")

    async def _trim(self, way: Way, through: Position) -> None:
        """Let go of what was loaded of the log and then trimmed in the first store. Nobody is
        harmed by more of it, so it waits until the other store takes trims."""
        with suppress(QueueAway, Unavailable):
            while await way.target.announcements.trim(
                way.queue, through=through, now=self._clock.now()
            ):
                pass

    async def _load(self, way: Way, lease: "_Lease", progress: Progress) -> Position:
        """Load all of it; up to where the log has been trimmed meanwhile."""
        here, there, epoch = way.source.transfers, way.target.transfers, way.epoch
        queue, now = way.queue, self._clock.now
        before = await _outline(here, queue)
        await there.begin(queue, before, epoch=epoch, now=now())
        if len(await here.dump(queue, after=BEFORE_ALL, limit=LARGE, now=now())) == LARGE:
            await self._load_ahead(way, lease, progress)
        announced = BEFORE_ALL
        if before.logged and await self._has_a_large_log(way):
            announced = await self._load_log(way, lease, announced)
        await here.fence(queue, epoch=epoch, now=now())
        outline = await _outline(here, queue)
        if outline.base == before.base:
            await there.amend(queue, outline, epoch=epoch, now=now())
        else:  # it was purged, and nothing that was loaded is worth keeping
            await there.begin(queue, outline, epoch=epoch, now=now())
            announced = BEFORE_ALL
        dropped = announced
        if outline.logged:
            if first := await here.dump_log(queue, after=BEFORE_ALL, limit=1, now=now()):
                dropped = min(announced, Position(first[0].position - 1))
            await self._load_log(way, lease, announced)
        name = ""
        while claims := await here.dump_claims(queue, after=name, limit=CARRIED_AT_ONCE):
            await there.load(queue, claims=claims, epoch=epoch, now=now())
            name = claims[-1].claim_id
            await lease.renew()
        name = ""
        while posts := await here.dump_posts(queue, after=name, limit=CARRIED_AT_ONCE):
            await there.load(queue, posts=posts, epoch=epoch, now=now())
            name = posts[-1].key
            await lease.renew()
        await self._load_changes(way, lease, progress)
        return dropped

    async def _load_ahead(self, way: Way, lease: "_Lease", progress: Progress) -> None:
        """Load what is there now; what changes behind us is for later."""
        position, now, count = BEFORE_ALL, self._clock.now, FIRST_CARRIED
        while messages := await way.source.transfers.dump(
            way.queue, after=position, limit=count, now=now()
        ):
            count = _next_count(messages)
            await way.target.transfers.load(
                way.queue, messages=messages, epoch=way.epoch, now=now()
            )
            position = messages[-1].position
            progress(len(messages))
            await lease.renew()

    async def _has_a_large_log(self, way: Way) -> bool:
        log = await way.source.transfers.dump_log(
            way.queue, after=BEFORE_ALL, limit=LARGE, now=self._clock.now()
        )
        return len(log) == LARGE

    async def _load_log(self, way: Way, lease: "_Lease", after: Position) -> Position:
        """Load what its log has after a position; the last that it has now."""
        here, there, now, count = way.source.transfers, way.target.transfers, self._clock.now, 0
        while log := await here.dump_log(
            way.queue, after=after, limit=count or FIRST_CARRIED, now=now()
        ):
            count = _next_count(log)
            await there.load(way.queue, log=log, epoch=way.epoch, now=now())
            after = log[-1].position
            await lease.renew()
        return after

    async def _load_changes(self, way: Way, lease: "_Lease", progress: Progress) -> None:
        """Make the messages there those that are here, both of which stand still."""
        here, there, now = way.source.transfers, way.target.transfers, self._clock.now
        position, count = BEFORE_ALL, FIRST_CARRIED
        while True:
            wanted = await here.dump(way.queue, after=position, limit=count, now=now())
            last = wanted[-1].position if len(wanted) == count else None
            found = await self._until(way, position, last, count)
            count = _next_count(wanted)
            changed = [m for m in wanted if not _same(found.pop(m.id, None), m, now())]
            if changed:
                await there.load(way.queue, messages=changed, epoch=way.epoch, now=now())
                progress(len(changed))
            if found:
                await there.unload(way.queue, list(found), epoch=way.epoch, now=now())
            if last is None:
                return
            position = last
            await lease.renew()

    async def _until(
        self, way: Way, position: Position, last: Position | None, count: int
    ) -> dict[str, Message]:
        """What was loaded between two positions, by id."""
        found: dict[str, Message] = {}
        while page := await way.target.transfers.dump(
            way.queue, after=position, limit=count, now=self._clock.now()
        ):
            found.update((m.id, m) for m in page if last is None or m.position <= last)
            position = page[-1].position
            if last is not None and position >= last:
                break
        return found

    async def _undo(self, way: Way, mine: SeenPin) -> None:
        """Go back to the first store, unless somebody else decided."""
        queue = way.queue
        try:
            seen = await self._placing.catalogue.pin(queue)
            if seen is not None and seen.pin.state == "moving" and seen.pin.epoch == way.epoch:
                back = replace(seen.pin, state="landing", target=None)
                landed = await self._placing.catalogue.put_pin(queue, back, seen)
                if landed is not None:
                    await self._placing.land(queue, landed)
            await way.target.transfers.forget(queue, epoch=way.epoch, now=self._clock.now())
            await self._placing.catalogue.unlist(mine.pin.target or "", queue)
        except (Unavailable, Conflict):
            pass  # whoever uses the queue when the lease has run out goes back for us


def _next_count(messages: Sequence[Message]) -> int:
    """How many messages of the size of these are carried at once."""
    size = sum(len(message.body) for message in messages) // max(len(messages), 1)
    return min(max(BYTES_AT_ONCE // max(size, 1), 1), CARRIED_AT_ONCE)


async def _outline(transfers: TransferStore, queue: QueueRef) -> Outline:
    outline = await transfers.outline(queue)
    if outline is None:
        raise NotFound("The queue does not exist.")
    return outline


def _same(loaded: Message | None, wanted: Message, now: Moment) -> bool:
    """Whether a message was loaded as it is; of one that waits for nothing, the moment since
    when it does not is nothing that anybody sees."""
    if loaded is None:
        return False
    if max(loaded.available_at, wanted.available_at) <= now:
        loaded = replace(loaded, available_at=wanted.available_at)
    return loaded == wanted


class _Lease:
    """The mover's hold on the pin, renewed while the work goes on."""

    def __init__(self, placing: Placing, clock: Clock, queue: QueueRef, seen: SeenPin) -> None:
        self._placing = placing
        self._clock = clock
        self._queue = queue
        self.seen = seen

    async def renew(self) -> None:
        """Renew when half of it has passed; ``Unavailable`` when somebody took it away."""
        now = self._clock.now()
        if now < self.seen.pin.until - LEASE // 2:
            return
        pin = replace(self.seen.pin, until=after(now, LEASE))
        seen = await self._placing.catalogue.put_pin(self._queue, pin, self.seen)
        if seen is None:
            raise Unavailable("The move took too long and was undone.")
        self.seen = seen
