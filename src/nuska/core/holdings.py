"""What a project holds, looked up where it lies: what quotas on stored things go by.

Queues of the service's own do not count, and topics do: they are made by callers. Nothing here is
remembered, and nothing keeps others from storing meanwhile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any

from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.allowances import Amounts, Limits, plus
from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import Store

STRETCH = 10_000
"""Messages that the store measures in one go."""
PAGE = 100
AT_ONCE = 8
"""Queues that are looked at side by side."""

Look = Callable[[QueueRef], Coroutine[Any, Any, Amounts]]


class Holdings:
    def __init__(
        self, store: Store, subscriptions: SubscriptionRecords | None, clock: Clock
    ) -> None:
        self._store = store
        self._subscriptions = subscriptions
        self._clock = clock

    async def queues(self, project: str, limits: Limits) -> Amounts:
        counts = [await self._store.queues.count(one) for one in _namespaces(project)]
        [limit] = limits
        if limit is not None and sum(counts) >= limit:
            # A store may count what somebody began to make and did not; a list has queues only.
            counts = [
                sum([len(page) async for page in self._names(one)]) for one in _namespaces(project)
            ]
        return (sum(counts),)

    async def posted(self, project: str, limits: Limits) -> Amounts:
        """Messages, and their bytes if these are limited: statistics cost less."""
        held: Amounts = (0, 0)
        look = self._counted_in if limits[1] is None else self._measured_in
        for one in _namespaces(project):
            held = plus(held, await self._of_queues(one, look, (0, 0)))
        return held

    async def subscriptions(self, project: str, _: Limits) -> Amounts:
        """Those that are kept; those of connections end with them."""
        if self._subscriptions is None:
            return (0,)
        count, now = 0, self._clock.now()
        for one in _namespaces(project):
            async for found in self._subscriptions.of_project(one):
                count += found.expires_at > now
        return (count,)

    async def claims(self, project: str, _: Limits) -> Amounts:
        """Live claims that hold messages."""
        return await self._of_queues(project, self._claims_of, (0,))

    async def _of_queues(self, project: str, look: Look, nothing: Amounts) -> Amounts:
        """The sum over the queues of a project."""
        held = nothing
        async for page in self._names(project):
            for start in range(0, len(page), AT_ONCE):
                for found in await _side_by_side(look, page[start : start + AT_ONCE]):
                    held = plus(held, found)
        return held

    async def _names(self, project: str) -> AsyncIterator[list[QueueRef]]:
        """The queues of a project, page by page."""
        last: str | None = None
        while True:
            page = await self._store.queues.page(
                project, after=last, limit=PAGE, with_metadata=False
            )
            if page:
                yield [queue.ref for queue in page]
            if len(page) < PAGE:
                return
            last = page[-1].ref.name
            await asyncio.sleep(0)  # an embedded store answers without waiting

    async def _counted_in(self, queue: QueueRef) -> Amounts:
        stats = await self._store.queues.stats(queue, now=self._clock.now())
        return (stats.ready + stats.delayed + stats.claimed, 0)

    async def _measured_in(self, queue: QueueRef) -> Amounts:
        messages = size = 0
        after: Position | None = BEFORE_ALL
        while after is not None:
            part = await self._store.messages.measure(
                queue, after=after, limit=STRETCH, now=self._clock.now()
            )
            messages, size, after = messages + part.messages, size + part.bytes, part.marker
        return (messages, size)

    async def _claims_of(self, queue: QueueRef) -> Amounts:
        return (await self._store.claims.count(queue, now=self._clock.now()),)


async def _side_by_side(look: Look, queues: Sequence[QueueRef]) -> list[Amounts]:
    """When one look fails the others end before that is told."""
    try:
        async with asyncio.TaskGroup() as group:
            looking = [group.create_task(look(queue)) for queue in queues]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [one.result() for one in looking]


def _namespaces(project: str) -> tuple[str, str]:
    """Where the queues of a project are, and its topics."""
    return project, topic(project, "").project
