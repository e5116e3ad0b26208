"""Messages of the model store."""

from collections.abc import Sequence
from itertools import islice

from nuska.domain.errors import Conflict, QueueMissing
from nuska.domain.limits import IDEMPOTENCY_TTL
from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.moments import Moment, after
from nuska.domain.positions import SALT_BYTES, Position, message_id, parse_message_id
from nuska.domain.queues import NOTHING_HELD, Measure
from nuska.stores.memory.state import QueueState, RememberedPost, State


class MemoryMessages:
    def __init__(self, state: State) -> None:
        self._state = state

    async def add(
        self,
        queue: QueueRef,
        messages: Sequence[NewMessage],
        *,
        poster: bytes = b"",
        idempotency: Idempotency | None = None,
        create: bool = True,
        now: Moment,
    ) -> Added:
        now = self._state.at(now)
        only_asks = idempotency is not None and not messages
        if self._state.find(queue) is None:
            if only_asks:
                return Added([])
            if not create:
                raise QueueMissing
        state = self._state.find_or_create(queue, now)
        if idempotency is not None:
            earlier = _earlier_post(state, idempotency, now)
            if earlier is not None:
                return Added(list(earlier.ids), replayed=True)
            if only_asks:
                return Added([])
        added = [self._append(state, new, poster, now) for new in messages]
        log = self._state.logs.get(queue)
        if log is not None:
            log.announced += added
        ids = [message.id for message in added]
        if idempotency is not None:
            state.posts[idempotency.key] = RememberedPost(
                idempotency.fingerprint, list(ids), until=after(now, IDEMPOTENCY_TTL)
            )
        return Added(ids)

    def _append(self, state: QueueState, new: NewMessage, poster: bytes, now: Moment) -> Message:
        position = state.take_position(now)
        message = Message(
            id=message_id(position, self._state.random_bytes(SALT_BYTES)),
            position=position,
            body=new.body,
            ttl=new.ttl,
            created_at=now,
            expires_at=after(now, new.ttl),
            available_at=after(now, new.delay),
            poster=poster,
            attributes=new.attributes,
        )
        state.put(message)
        if new.delay > 0:
            state.waiting.add(message.id)
        return message

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
        now = self._state.at(now)
        state = self._state.find(queue)
        shown = [
            m
            for m in (state.existing(now) if state is not None else [])
            if m.position > after
            and (hide_poster is None or m.poster != hide_poster)
            and (
                m.available_at <= now
                or (include_claimed if m.claim_id is not None else include_delayed)
            )
        ][:limit]
        return Page(shown, marker=shown[-1].position if shown else after)

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        parsed = parse_message_id(message_id)
        if parsed is None:
            return None
        state = self._state.find(queue)
        here = state.find(message_id, self._state.latest) if state is not None else None
        return here.position if here is not None else parsed[0]

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return []
        found = [state.find(asked, now) for asked in dict.fromkeys(ids)]
        return [message for message in found if message is not None]

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        now = self._state.at(now)
        state = self._state.find(queue)
        message = state.find(message_id, now) if state is not None else None
        if state is None or message is None:
            return DeleteOutcome.MISSING
        outcome = _may_delete(state, message, claim_id, now)
        if outcome is DeleteOutcome.DELETED:
            state.remove(message_id)
        return outcome

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return True
        found = [m for m in (state.find(asked, now) for asked in set(ids)) if m is not None]
        if claim_ids is not None and not all(m.claim_id in set(claim_ids) for m in found):
            return False
        for message in found:
            state.remove(message.id)
        return True

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return []
        taken = list(islice(state.available(now), limit))
        for message in taken:
            state.remove(message.id)
        return taken

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return
        for message in popped:
            is_from_before = message.position <= state.emptied_at
            if not is_from_before and now < message.expires_at and message.id not in state.messages:
                state.put(message)

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return None
        return min(
            (m.available_at for m in state.existing(now) if now < m.available_at < m.expires_at),
            default=None,
        )

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            return NOTHING_HELD
        stretch = [m for m in state.existing(now) if m.position > after][:limit]
        return Measure(
            messages=len(stretch),
            bytes=sum(len(m.body) + len(m.attributes or b"") for m in stretch),
            marker=stretch[-1].position if len(stretch) == limit else None,
        )


def _earlier_post(
    state: QueueState, idempotency: Idempotency, now: Moment
) -> RememberedPost | None:
    earlier = state.posts.get(idempotency.key)
    if earlier is None or now >= earlier.until:
        return None
    if earlier.fingerprint != idempotency.fingerprint:
        raise Conflict("This Idempotency-Key was used for another post to this queue.")
    return earlier


def _may_delete(
    state: QueueState, message: Message, claim_id: str | None, now: Moment
) -> DeleteOutcome:
    """The table of contract http-v2 §3.5, for a message that exists."""
    if claim_id is None:
        free = message.claim_id is None
        return DeleteOutcome.DELETED if free else DeleteOutcome.CLAIMED
    if state.live_claim(claim_id, now) is None:
        return DeleteOutcome.CLAIM_GONE
    if message.claim_id is None:
        return DeleteOutcome.NOT_CLAIMED
    same = message.claim_id == claim_id
    return DeleteOutcome.DELETED if same else DeleteOutcome.OTHER_CLAIM
