"""Queues: create, look up, list, delete, purge, count."""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId
from nuska.domain.queues import EMPTY_STATS, Landmark, Metadata, Queue, Stats
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.names import after_name, name_and_listing
from nuska.stores.redis.rows import id_and_creation

CHUNK = 100
"""Queues looked at in one go when a page is filtered."""
LISTED_BEFORE_CREATED = Duration(600_000)
"""A listing without its queue is younger than this while the queue is being created."""
CLEARINGS_AT_MOST = 10_000

_encode = msgspec.json.Encoder().encode
_canonical = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, object]).decode


class RedisQueues:
    """``QueueStore`` on Redis."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        answer = await self._calls.write(
            "nuska_create_queue", ref, now, _encode(metadata), int(relaxed)
        )
        return bool(answer[0] == b"created")

    async def get(self, ref: QueueRef) -> Queue | None:
        found = await self._header(ref)
        return None if found is None else found[0]

    async def _header(self, ref: QueueRef) -> tuple[Queue, str] | None:
        """The queue and what its entry in the project's listing must say."""
        key = self._calls.names.header(ref)
        metadata, relaxed, version, listing, fence = await self._calls.command(
            key, "HMGET", key, "metadata", "relaxed", "version", "listing", "fence"
        )
        if fence is not None:
            raise QueueAway
        if listing is None:
            return None
        queue = Queue(
            ref=ref, metadata=_decode(metadata), relaxed=relaxed == b"1", version=int(version)
        )
        return queue, listing.decode()

    async def _header_if_here(self, ref: QueueRef) -> tuple[Queue, str] | None:
        try:
            return await self._header(ref)
        except QueueAway:
            return None

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        answer = await self._calls.write(
            "nuska_replace_metadata",
            queue.ref,
            now,
            queue.version,
            _encode(metadata),
            int(relaxed),
        )
        return bool(answer[0] == b"replaced")

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        answer = await self._calls.write("nuska_delete_queue", ref, now)
        if answer[0] == b"deleted":
            await self._calls.unlist(ref, answer[1].decode())

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        await self._calls.write("nuska_purge_queue", ref, now)

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,  # noqa: ARG002  a header comes whole
    ) -> list[Queue]:
        key = self._calls.names.listing(project)
        found: list[Queue] = []
        start = b"-" if after is None else b"(" + after_name(after)
        chunk = max(CHUNK, limit)
        while len(found) < limit:
            members = await self._calls.command(
                key, "ZRANGE", key, start, "+", "BYLEX", "LIMIT", 0, chunk
            )
            listed = await self._listed(project, members, name_contains)
            found += [one for one in listed if _has_pairs(one.metadata, metadata_equals or {})]
            if len(members) < chunk:
                break
            start = b"(" + members[-1]
        return found[:limit]

    async def _listed(
        self, project: str, members: Sequence[bytes], part: str | None
    ) -> list[Queue]:
        """The queues that entries of the listing stand for; entries of none are removed."""
        entries = [name_and_listing(member) for member in members]
        entries = [entry for entry in entries if part is None or part in entry[0]]
        headers = await asyncio.gather(
            *(self._header_if_here(QueueRef(project, name)) for name, _ in entries)
        )
        queues = []
        for (name, listing), header in zip(entries, headers, strict=True):
            if header is not None and header[1] == listing:
                queues.append(header[0])
            elif header is not None or self._is_old(listing):
                await self._calls.unlist(QueueRef(project, name), listing)
        return queues

    def _is_old(self, listing: str) -> bool:
        return int(listing[:12], 16) + LISTED_BEFORE_CREATED < self._calls.latest

    async def count(self, project: str) -> int:
        key = self._calls.names.listing(project)
        return int(await self._calls.command(key, "ZCARD", key))

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats:
        answer = await self.when_clear("nuska_get_stats", ref, now)
        _, ready, delayed, claimed, *ends = answer
        if not ends:
            return EMPTY_STATS
        oldest, newest = (id_and_creation(head) for head in (ends[1], ends[3]))
        return Stats(
            ready=ready,
            delayed=delayed,
            claimed=claimed,
            oldest=Landmark(MessageId(oldest[0]), oldest[1]),
            newest=Landmark(MessageId(newest[0]), newest[1]),
        )

    async def when_clear(self, function: str, ref: QueueRef, now: Moment, *rest: Any) -> Any:
        """The answer of a reading function that wants what is over cleared away first.

        It is cleared in bounded steps of its own; nothing that is waiting is made to wait.
        """
        for _ in range(CLEARINGS_AT_MOST):
            answer = await self._calls.read(function, ref, now, *rest)
            if answer[0] != b"stale":
                return answer
            await self._calls.maintain("nuska_sweep_queue", ref, now, 0)
        raise Unavailable("The queue has too much to clear away.")


def _has_pairs(metadata: Metadata, pairs: Metadata) -> bool:
    """Whether each pair is there, equal as JSON text: in Python ``1 == True == 1.0``."""
    return all(
        key in metadata and _canonical(metadata[key]) == _canonical(value)
        for key, value in pairs.items()
    )
