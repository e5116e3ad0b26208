"""Moves and drains that an operator asked for: written down first, done by whichever node looks.

A job is a record with a lease. Its node writes how far it has come about once a second, which
renews the lease; when the node dies, another goes on. A move that was broken off left its queue
where it was (``moving.py``), so going on is beginning again.
"""

import asyncio
import logging
from contextlib import suppress

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nuska.domain.errors import Conflict, NuskaError, Unavailable
from nuska.domain.internal import SEPARATOR
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.pools import Carriage
from nuska.ending import ended
from nuska.interfaces.clock import Clock
from nuska.interfaces.records import ABSENT, Record, RecordStore
from nuska.stores.pooled.catalogue import DRAINS, MOVES, PAGE
from nuska.stores.pooled.moving import Mover
from nuska.stores.pooled.placing import Placing
from nuska.stores.pooled.pools import why

LEASE = Duration(5000)
WRITTEN_EVERY = 0.5
"""Seconds between two notes of how far a job has come."""
RETRY_AFTER = Duration(2000)
"""A job that could not go on is tried again after this."""
KEPT = Duration(600_000)
"""How long a job that is over can still be asked about."""

logger = logging.getLogger("nuska.stores.pooled")


class Job(Struct, frozen=True, kw_only=True):
    """A job as it is written down."""

    carriage: Carriage
    began: Moment
    until: Moment = Moment(0)
    """While it runs: its node is dead from then on. While it waits: it waits until then. When
    it is over: it is forgotten then."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Job).decode


class Carriages:
    """Starts jobs, runs those that wait, and says how far they have come."""

    def __init__(self, placing: Placing, mover: Mover, clock: Clock) -> None:
        self._placing = placing
        self._mover = mover
        self._clock = clock
        self._records = placing.catalogue.records
        self._running: asyncio.Task[None] | None = None
        self.messages_moved = 0

    async def start(self, collection: str, key: str, source: str, target: str | None) -> None:
        """Write a job down; nothing changes when the same is waiting or running already."""
        while True:
            record = await self._records.get(collection, key)
            if record is not None:
                going_on = _decode(record.value).carriage
                if going_on.state in ("waiting", "running"):
                    if going_on.target == target:
                        return
                    raise Conflict("Another move is under way. Wait until it is over.")
            carriage = Carriage(source=source, target=target, state="waiting")
            job = Job(carriage=carriage, began=self._clock.now())
            version = ABSENT if record is None else record.version
            if await self._records.put(collection, key, _encode(job), version=version):
                return

    async def state(self, collection: str, key: str) -> Carriage | None:
        record = await self._records.get(collection, key)
        return None if record is None else _decode(record.value).carriage

    def step(self) -> None:
        """See to it that what waits is done, in the background."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run_waiting(), name="moves and drains")

    async def stop(self) -> None:
        if self._running is not None:
            await ended(self._running)

    async def _run_waiting(self) -> None:
        for collection in (MOVES, DRAINS):
            key = ""
            while records := await self._page(collection, key):
                for record in records:
                    await self._look_at(collection, record)
                key = records[-1].key

    async def _page(self, collection: str, key: str) -> list[Record]:
        try:
            return await self._records.page(collection, after=key, limit=PAGE)
        except Unavailable:
            return []  # the next step looks again

    async def _look_at(self, collection: str, record: Record) -> None:
        job, now = _decode(record.value), self._clock.now()
        if now < job.until:
            return
        try:
            if job.carriage.state in ("done", "failed"):
                await self._records.remove(collection, record.key, version=record.version)
                return
            running = replace(
                job, carriage=replace(job.carriage, state="running"), until=after(now, LEASE)
            )
            version = await self._records.put(
                collection, record.key, _encode(running), version=record.version
            )
            if version is not None:
                await self._run(
                    _Notes(self._records, self._clock, collection, record.key, running, version)
                )
        except Unavailable as error:
            logger.warning("a move waits", extra={"reason": error.description})

    async def _run(self, notes: "_Notes") -> None:
        writing = asyncio.create_task(notes.keep_writing(), name="progress of a move")
        try:
            if notes.collection == MOVES:
                await self._move_one(notes)
            else:
                await self._drain(notes)
        except Unavailable as error:
            notes.set(state="waiting", problem=why(error))
        except NuskaError as error:
            notes.set(state="failed", problem=why(error))
        else:
            notes.set(state="done", problem="", queues_left=0, messages_left=0)
        finally:
            await ended(writing)
        await notes.write_last()

    async def _move_one(self, notes: "_Notes") -> None:
        project, _, name = notes.key.rpartition(SEPARATOR)
        queue = QueueRef(project, name)
        target = notes.carriage.target
        assert target is not None, "a move has a target"
        notes.set(
            queues_left=1,
            queues_done=0,
            messages_left=await self._held(queue),
            messages_done=0,
        )
        await self._move(queue, target, notes)

    async def _move(self, queue: QueueRef, target: str, notes: "_Notes") -> None:
        before = notes.carriage

        def carried(count: int) -> None:
            self.messages_moved += count
            notes.set(
                messages_done=notes.carriage.messages_done + count,
                messages_left=max(notes.carriage.messages_left - count, 0),
            )

        try:
            await self._mover.move(queue, target, carried)
        except BaseException:
            notes.set(messages_done=before.messages_done, messages_left=before.messages_left)
            raise
        notes.set(queues_done=before.queues_done + 1, queues_left=max(before.queues_left - 1, 0))

    async def _drain(self, notes: "_Notes") -> None:
        pool = notes.key
        queues = messages = 0
        async for queue in self._placing.catalogue.in_pool(pool):
            if await self._lies_in(queue, pool):
                queues += 1
                messages += await self._held(queue)
        notes.set(queues_left=queues, messages_left=messages)
        while await self._drain_once(pool, notes):
            pass  # queues that were being made when the weight was set to 0

    async def _drain_once(self, pool: str, notes: "_Notes") -> int:
        """Move what lies in the pool; how many queues that were."""
        moved = 0
        async for queue in self._placing.catalogue.in_pool(pool):
            if not await self._lies_in(queue, pool):
                await self._placing.catalogue.unlist(pool, queue)
                continue
            pools = self._placing.pools
            flavor = await pools.flavor_of(pool)
            target = notes.carriage.target or await pools.choose(flavor)
            await self._move(queue, target, notes)
            moved += 1
        return moved

    async def _lies_in(self, queue: QueueRef, pool: str) -> bool:
        self._placing.drop(queue)
        pin = await self._placing.pin(queue)
        return pin is not None and pin.pool == pool

    async def _held(self, queue: QueueRef) -> int:
        now = self._clock.now()
        stats = await self._placing.use(
            queue, lambda store: store.queues.stats(queue, now=now), otherwise=None
        )
        return 0 if stats is None else stats.ready + stats.delayed + stats.claimed


class _Notes:
    """What is written of a running job."""

    def __init__(
        self,
        records: RecordStore,
        clock: Clock,
        collection: str,
        key: str,
        job: Job,
        version: str,
    ) -> None:
        self._records = records
        self._clock = clock
        self.collection = collection
        self.key = key
        self._job = job
        self._version: str | None = version
        self._before = job.carriage.seconds
        self._started = clock.now()
        self.carriage = job.carriage

    def set(self, **changes: object) -> None:
        """Change what will be written next."""
        self.carriage = replace(self.carriage, **changes)

    async def keep_writing(self) -> None:
        """Write from time to time, which renews the lease, until cancelled."""
        while True:
            await asyncio.sleep(WRITTEN_EVERY)
            with suppress(Unavailable):
                await self._write(after(self._clock.now(), LEASE))

    async def write_last(self) -> None:
        wait = RETRY_AFTER if self.carriage.state == "waiting" else KEPT
        await self._write(after(self._clock.now(), wait))

    async def _write(self, until: Moment) -> None:
        """Nothing is written any more when another node has taken the job over."""
        if self._version is None:
            return
        self.set(seconds=self._before + (self._clock.now() - self._started) / 1000)
        job = replace(self._job, carriage=self.carriage, until=until)
        self._version = await self._records.put(
            self.collection, self.key, _encode(job), version=self._version
        )
