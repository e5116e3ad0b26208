"""What a caller may do with queues, and with topics: one service for each.

Queues are lazy: reading one that nobody created shows an empty one with the defaults (contract
lifecycle §2); only ``update`` asks that it exists.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from nuska.core.access import allow
from nuska.core.clearing import Clearing
from nuska.core.namespaces import QUEUES, Namespace
from nuska.core.ranges import page_size
from nuska.core.usage import Usage
from nuska.domain.errors import InvalidInput, NotFound, Unavailable
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import (
    DEAD_LETTER_QUEUE_KEY,
    ENCRYPT_KEY,
    apply_patch,
    check_metadata,
    is_encrypted,
    is_relaxed,
    may_occur_in_queue_name,
    with_defaults,
)
from nuska.domain.queues import Metadata, Stats
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.storage import QueueStore

PATCH_ATTEMPTS = 20
"""How often a metadata patch is tried again when others change the queue meanwhile."""


class ListedQueue(Struct, frozen=True, gc=False):
    """One queue of a listing."""

    name: str
    metadata: Metadata | None
    """With defaults, or bare; None when the listing is not detailed."""


class QueueStatistics(Struct, frozen=True, gc=False):
    """What is counted about a queue, and how durable its writes are."""

    stats: Stats
    relaxed: bool
    exists: bool = True


class QueueService:
    def __init__(
        self,
        store: QueueStore,
        clock: Clock,
        limits: Limits,
        clearing: Clearing,
        usage: Usage,
        namespace: Namespace = QUEUES,
        *,
        can_encrypt: bool,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._clearing = clearing
        self._usage = usage
        self._namespace = namespace
        self._can_encrypt = can_encrypt

    async def create(self, caller: Caller, name: str, metadata: Metadata) -> bool:
        """Create a queue. False when it exists: its metadata then stays as it is (C14)."""
        self._allow(caller, "create", name)
        self._check(caller, metadata)
        ref = self._namespace.place(caller.project, name)
        async with self._usage.for_queue(ref):
            return await self._store.create(
                ref, metadata, relaxed=is_relaxed(metadata), now=self._clock.now()
            )

    async def get(self, caller: Caller, name: str, *, bare: bool = False) -> Metadata:
        """The metadata with defaults, also of a queue that nobody created (K1); ``bare``:
        without defaults."""
        self._allow(caller, "get", name)
        queue = await self._store.get(self._namespace.place(caller.project, name))
        metadata = {} if queue is None else queue.metadata
        return metadata if bare else self._shown(metadata)

    async def exists(self, caller: Caller, name: str) -> bool:
        """Whether somebody created the queue, by name or by a post."""
        self._allow(caller, "get", name)
        return await self._store.get(self._namespace.place(caller.project, name)) is not None

    async def update(self, caller: Caller, name: str, operations: object) -> Metadata:
        """Apply a JSON patch to the metadata; the new metadata with defaults.

        No other change gets lost: the patch is applied again when the metadata changed
        between reading and writing.
        """
        self._allow(caller, "update", name)
        ref = self._namespace.place(caller.project, name)
        for _ in range(PATCH_ATTEMPTS):
            queue = await self._store.get(ref)
            if queue is None:
                raise NotFound(f"There is no {self._namespace.word} named {name}.")
            metadata = apply_patch(queue.metadata, operations)
            self._check(caller, metadata)
            self._check_size(metadata)
            if _is_same(metadata, queue.metadata) or await self._store.replace_metadata(
                queue, metadata, relaxed=is_relaxed(metadata), now=self._clock.now()
            ):
                return self._shown(metadata)
        raise Unavailable("The queue's metadata keeps changing under this update.")

    def _check(self, caller: Caller, metadata: Metadata) -> None:
        check_metadata(metadata, self._limits)
        target = metadata.get(DEAD_LETTER_QUEUE_KEY)
        if isinstance(target, str) and caller.grant is not None:
            # What the queue gives up is posted there: nobody names what he may not post to.
            allow(caller, "messages:create", QueueRef(caller.project, target))
        if is_encrypted(metadata) and not self._can_encrypt:
            raise InvalidInput(
                f"{ENCRYPT_KEY} cannot be true: no encryption key is configured on this server."
            )

    async def delete(self, caller: Caller, name: str) -> None:
        self._allow(caller, "delete", name)
        ref = self._namespace.place(caller.project, name)
        mark = await self._clearing.mark(ref)
        await self._store.delete(ref, now=self._clock.now())
        await self._clearing.cleared(ref, mark, deleted=True)
        self._usage.free(ref)

    async def page(
        self,
        caller: Caller,
        *,
        after: str | None = None,
        limit: int | None = None,
        detailed: bool = False,
        name_contains: str | None = None,
        filters: Mapping[str, object] | None = None,
        bare: bool = False,
    ) -> list[ListedQueue]:
        """The project's queues by name, after the name ``after``; ``bare``: without defaults."""
        self._allow(caller, "get_all")
        if name_contains is not None and not may_occur_in_queue_name(name_contains):
            raise InvalidInput("The value of name has a character that no queue name contains.")
        queues = await self._store.page(
            self._namespace.place(caller.project, "").project,
            after=after,
            limit=page_size(limit, self._limits.max_queues_per_page),
            name_contains=name_contains,
            metadata_equals=dict(filters) if filters else None,
            with_metadata=detailed,
        )
        show = (lambda metadata: metadata) if bare else self._shown
        return [ListedQueue(q.ref.name, show(q.metadata) if detailed else None) for q in queues]

    async def count(self, caller: Caller) -> int:
        """How many queues the project has, whatever a listing leaves out."""
        self._allow(caller, "get_all")
        return await self._store.count(self._namespace.place(caller.project, "").project)

    async def stats(self, caller: Caller, name: str) -> QueueStatistics:
        self._allow(caller, "stats", name)
        ref = self._namespace.place(caller.project, name)
        queue = await self._store.get(ref)
        stats = await self._store.stats(ref, now=self._clock.now())
        relaxed = queue is not None and queue.relaxed
        return QueueStatistics(stats, relaxed=relaxed, exists=queue is not None)

    async def purge(self, caller: Caller, name: str, *, messages: bool) -> None:
        """Remove what the queue holds: its messages and their claims, if ``messages``."""
        self._allow(caller, "purge", name)
        if messages:
            ref = self._namespace.place(caller.project, name)
            mark = await self._clearing.mark(ref)
            await self._store.purge(ref, now=self._clock.now())
            await self._clearing.cleared(ref, mark)
            self._usage.free(ref)

    def _allow(self, caller: Caller, action: str, name: str | None = None) -> None:
        queue = None if name is None else self._namespace.place(caller.project, name)
        allow(caller, f"{self._namespace.noun}:{action}", queue)

    def _shown(self, metadata: Metadata) -> Metadata:
        return with_defaults(metadata, self._limits, self._namespace.shown)

    def _check_size(self, metadata: Metadata) -> None:
        # Many small patches must not build what one request may not say.
        if len(msgspec.json.encode(metadata)) > self._limits.max_queue_metadata:
            raise InvalidInput(
                "The resulting metadata is too large: the maximum is "
                f"{self._limits.max_queue_metadata} bytes."
            )


def _is_same(one: Metadata, other: Metadata) -> bool:
    """Whether both say the same in JSON; in Python, 1 and 1.0 and true are equal."""
    return one == other and msgspec.json.encode(one) == msgspec.json.encode(other)
