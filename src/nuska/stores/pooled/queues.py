"""Queues over several stores."""

import asyncio
from collections.abc import Sequence

from nuska.domain.errors import Conflict
from nuska.domain.internal import is_of_the_service
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import FLAVOR_KEY
from nuska.domain.moments import Moment
from nuska.domain.pools import OWN
from nuska.domain.queues import EMPTY_STATS, Metadata, Queue, Stats
from nuska.stores.pooled.catalogue import PAGE
from nuska.stores.pooled.moving import Mover
from nuska.stores.pooled.placing import Placing, refuse_letter_boxes

READ_AT_ONCE = 16
"""Queues whose metadata a listing reads at the same time."""


class PooledQueues:
    """``QueueStore`` over the stores of a catalogue."""

    def __init__(self, placing: Placing, mover: Mover) -> None:
        self._placing = placing
        self._mover = mover

    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        return await self._placing.make(ref, metadata, relaxed=relaxed, now=now)

    async def get(self, ref: QueueRef) -> Queue | None:
        return await self._placing.use(ref, lambda store: store.queues.get(ref), otherwise=None)

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        if metadata.get(FLAVOR_KEY) != queue.metadata.get(FLAVOR_KEY):
            await self._change_flavor(queue.ref, metadata.get(FLAVOR_KEY), now)
            moved = await self.get(queue.ref)
            if moved is None or moved.metadata != queue.metadata:
                return False
            queue = moved  # another store gave it another version
        return await self._placing.use(
            queue.ref,
            lambda store: store.queues.replace_metadata(queue, metadata, relaxed=relaxed, now=now),
            otherwise=False,
        )

    async def _change_flavor(self, ref: QueueRef, flavor: object, now: Moment) -> None:
        """An empty queue goes to a pool of the flavor; one that holds messages stays (C21)."""
        pools = self._placing.pools
        pin = await self._placing.pin(ref)
        wanted = flavor if isinstance(flavor, str) else None
        if pin is None or (pin.pool != OWN and await pools.flavor_of(pin.pool) == wanted):
            return
        target = await pools.choose(wanted)
        if target == pin.pool:
            return
        stats = await self.stats(ref, now=now)
        held = stats.ready + stats.delayed + stats.claimed
        if held:
            raise Conflict(
                f"The queue holds {held} messages in a pool of another flavor. Move it to a pool "
                "of the new flavor first: nuska queue move."
            )
        await self._mover.move(ref, target)

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        await self._placing.end(ref, now=now)

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        await self._placing.use(ref, lambda store: store.queues.purge(ref, now=now), otherwise=None)

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,
    ) -> list[Queue]:
        """Without metadata the catalogue knows enough, whatever pools are down."""
        refuse_letter_boxes(project)
        if is_of_the_service(project):
            return await self._placing.pools.own.queues.page(
                project,
                after=after,
                limit=limit,
                name_contains=name_contains,
                metadata_equals=metadata_equals,
                with_metadata=with_metadata,
            )
        found: list[Queue] = []
        last = after or ""
        while len(found) < limit:
            names = await self._names(project, last, PAGE)
            wanted = [name for name in names if name_contains is None or name_contains in name]
            refs = [QueueRef(project, name) for name in wanted]
            if with_metadata or metadata_equals:
                queues = await self._read(refs)
            else:
                queues = [Queue(ref=ref, metadata={}) for ref in refs]
            found += [queue for queue in queues if _has_pairs(queue.metadata, metadata_equals)]
            if len(names) < PAGE:
                break
            last = names[-1]
        return found[:limit]

    async def _names(self, project: str, after: str, limit: int) -> list[str]:
        """The next names: those with a pin, and those of the own store that have none yet."""
        pinned = await self._placing.catalogue.pinned(project, after=after, limit=limit)
        names = {ref.name: pin.state not in ("making", "going") for ref, pin in pinned}
        own = await self._placing.pools.own.queues.page(
            project, after=after, limit=limit, with_metadata=False
        )
        for queue in own:
            names.setdefault(queue.ref.name, True)
        ends = [
            part[-1]
            for part in ([r.name for r, _ in pinned], [q.ref.name for q in own])
            if len(part) == limit
        ]
        end = min(ends, default=None)
        listed = sorted(name for name in names if end is None or name <= end)
        return [name for name in listed if names[name]]

    async def _read(self, refs: Sequence[QueueRef]) -> list[Queue]:
        queues: list[Queue] = []
        for start in range(0, len(refs), READ_AT_ONCE):
            part = refs[start : start + READ_AT_ONCE]
            queues += [q for q in await asyncio.gather(*map(self.get, part)) if q is not None]
        return queues

    async def count(self, project: str) -> int:
        refuse_letter_boxes(project)
        if is_of_the_service(project):
            return await self._placing.pools.own.queues.count(project)
        counted, last = 0, ""
        while names := await self._names(project, last, PAGE):
            counted += len(names)
            last = names[-1]
        return counted

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats:
        return await self._placing.use(
            ref, lambda store: store.queues.stats(ref, now=now), otherwise=EMPTY_STATS
        )


def _has_pairs(metadata: Metadata, pairs: Metadata | None) -> bool:
    """Whether each pair is there, equal in type (1 is not true) and value."""
    missing = object()
    return all(
        type(metadata.get(key, missing)) is type(value) and metadata[key] == value
        for key, value in (pairs or {}).items()
    )
