"""Queues of the model store."""

import msgspec

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.queues import EMPTY_STATS, Landmark, Metadata, Queue, Stats
from nuska.stores.memory.state import State


class MemoryQueues:
    def __init__(self, state: State) -> None:
        self._state = state

    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        now = self._state.at(now)
        if self._state.find(ref) is not None:
            return False
        self._state.create(ref, now, metadata, relaxed=relaxed)
        return True

    async def get(self, ref: QueueRef) -> Queue | None:
        state = self._state.find(ref)
        return None if state is None else state.queue

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        self._state.at(now)
        state = self._state.find(queue.ref)
        if state is None or state.queue.version != queue.version:
            return False
        state.queue = self._state.describe(queue.ref, metadata, relaxed=relaxed)
        return True

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        self._state.at(now)
        if self._state.find(ref) is not None:
            self._state.drop(ref)

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        self._state.at(now)
        state = self._state.find(ref)
        if state is not None:
            state.clear()
            self._state.empty_log(ref)

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,  # noqa: ARG002  it is at hand
    ) -> list[Queue]:
        matching = [
            state.queue
            for ref, state in self._state.queues.items()
            if ref.project == project
            and not state.fenced
            and (after is None or ref.name > after)
            and (name_contains is None or name_contains in ref.name)
            and _has_pairs(state.queue.metadata, metadata_equals or {})
        ]
        return sorted(matching, key=lambda queue: queue.ref.name)[:limit]

    async def count(self, project: str) -> int:
        return sum(
            ref.project == project and not state.fenced for ref, state in self._state.queues.items()
        )

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats:
        now = self._state.at(now)
        state = self._state.find(ref)
        stored = state.existing(now) if state is not None else []
        if not stored:
            return EMPTY_STATS
        ready = sum(m.available_at <= now for m in stored)
        claimed = sum(m.claim_id is not None for m in stored)
        return Stats(
            ready=ready,
            claimed=claimed,
            delayed=len(stored) - ready - claimed,
            oldest=Landmark(stored[0].id, stored[0].created_at),
            newest=Landmark(stored[-1].id, stored[-1].created_at),
        )


def _has_pairs(metadata: Metadata, pairs: Metadata) -> bool:
    """Whether each pair is there, equal as JSON text: in Python ``1 == True == 1.0``."""
    return all(
        key in metadata and _canonical(metadata[key]) == _canonical(value)
        for key, value in pairs.items()
    )


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")
