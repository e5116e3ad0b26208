"""Messages over several stores: each call goes to the store its queue lies in."""

from collections.abc import Awaitable, Sequence

from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.moments import Moment
from nuska.domain.positions import Position, parse_message_id
from nuska.domain.queues import NOTHING_HELD, Measure
from nuska.interfaces.pooling import PoolableStore
from nuska.stores.pooled.placing import Placing


class PooledMessages:
    """``MessageStore`` over the stores of a catalogue."""

    def __init__(self, placing: Placing) -> None:
        self._placing = placing

    async def add(
        self,
        queue: QueueRef,
        messages: Sequence[NewMessage],
        *,
        poster: bytes = b"",
        idempotency: Idempotency | None = None,
        now: Moment,
    ) -> Added:
        def add(store: PoolableStore) -> Awaitable[Added]:
            return store.messages.add(
                queue, messages, poster=poster, idempotency=idempotency, create=False, now=now
            )

        if idempotency is not None and not messages:
            return await self._placing.use(queue, add, otherwise=Added([]))
        return await self._placing.post(queue, add, now=now)

    async def page(
        self,
        queue: QueueRef,
        *,
        after: Position,
        limit: int,
        hide_poster: bytes | None = None,
        include_claimed: bool = False,
        include_delayed: bool = False,
        now: Moment,
    ) -> Page:
        return await self._placing.use(
            queue,
            lambda store: store.messages.page(
                queue,
                after=after,
                limit=limit,
                hide_poster=hide_poster,
                include_claimed=include_claimed,
                include_delayed=include_delayed,
                now=now,
            ),
            otherwise=Page([], after),
        )

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        parsed = parse_message_id(message_id)
        return await self._placing.use(
            queue,
            lambda store: store.messages.position_of(queue, message_id),
            otherwise=None if parsed is None else parsed[0],
        )

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        return await self._placing.use(
            queue, lambda store: store.messages.get(queue, ids, now=now), otherwise=[]
        )

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        return await self._placing.use(
            queue,
            lambda store: store.messages.delete(queue, message_id, claim_id=claim_id, now=now),
            otherwise=DeleteOutcome.MISSING,
        )

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        return await self._placing.use(
            queue,
            lambda store: store.messages.delete_many(queue, ids, claim_ids=claim_ids, now=now),
            otherwise=True,
        )

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        return await self._placing.use(
            queue, lambda store: store.messages.pop(queue, limit=limit, now=now), otherwise=[]
        )

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        await self._placing.use(
            queue, lambda store: store.messages.put_back(queue, popped, now=now), otherwise=None
        )

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        return await self._placing.use(
            queue, lambda store: store.messages.next_due(queue, now=now), otherwise=None
        )

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        return await self._placing.use(
            queue,
            lambda store: store.messages.measure(queue, after=after, limit=limit, now=now),
            otherwise=NOTHING_HELD,
        )
