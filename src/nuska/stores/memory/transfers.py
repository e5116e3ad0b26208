"""Carrying queues out of and into the model store."""

from collections.abc import Sequence

from msgspec.structs import replace

from nuska.domain.errors import Conflict, QueueMissing
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.pooling import LATER, NOT_FENCED, Lease, Outline, RememberedPost
from nuska.stores.memory import state as kept
from nuska.stores.memory.state import QueueState, State


class MemoryTransfers:
    def __init__(self, state: State) -> None:
        self._state = state

    async def outline(self, queue: QueueRef) -> Outline | None:
        state = self._state.queues.get(queue)
        if state is None:
            return None
        return Outline(
            metadata=state.queue.metadata,
            relaxed=state.queue.relaxed,
            base=state.emptied_at,
            last=state.last_position,
            fenced=state.fenced,
            epoch=state.epoch,
            arrived=dict(state.arrived),
            logged=queue in self._state.logs,
        )

    async def fence(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        now = self._state.at(now)
        state = self._state.queues.get(queue)
        _refuse_late(state, epoch)
        state = state or self._state.create(queue, now, {})
        state.fenced, state.epoch = True, epoch

    async def open(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        self._state.at(now)
        state = self._fenced(queue, epoch)
        if state is not None:
            state.fenced = False

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        now = self._state.at(now)
        state = self._state.queues.get(queue)
        stored = [] if state is None else state.existing(now)
        return [message for message in stored if message.position > after][:limit]

    async def dump_claims(self, queue: QueueRef, *, after: str, limit: int) -> list[Lease]:
        state = self._state.queues.get(queue)
        claims = {} if state is None else state.claims
        return [
            Lease(
                claim_id=claim_id,
                ttl=lease.ttl,
                started_at=lease.started_at,
                expires_at=lease.expires_at,
            )
            for claim_id, lease in sorted(claims.items())
            if claim_id > after
        ][:limit]

    async def dump_posts(self, queue: QueueRef, *, after: str, limit: int) -> list[RememberedPost]:
        state = self._state.queues.get(queue)
        posts = {} if state is None else state.posts
        return [
            RememberedPost(key=key, fingerprint=post.fingerprint, ids=post.ids, until=post.until)
            for key, post in sorted(posts.items())
            if key > after
        ][:limit]

    async def dump_log(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        now = self._state.at(now)
        log = self._state.logs.get(queue)
        return [] if log is None else log.alive(after, now)[:limit]

    async def begin(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        now = self._state.at(now)
        _refuse_late(self._state.queues.get(queue), epoch)
        self._state.queues.pop(queue, None)
        state = self._state.create(queue, now, outline.metadata, relaxed=outline.relaxed)
        state.emptied_at, state.last_position = outline.base, outline.last
        state.arrived = dict(outline.arrived)
        state.fenced, state.epoch = True, epoch
        self._state.close_log(queue)
        if outline.logged:
            self._state.open_log(queue)

    async def amend(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        self._state.at(now)
        state = self._fenced(queue, epoch)
        if state is None:
            raise Conflict(NOT_FENCED)
        state.queue = self._state.describe(queue, outline.metadata, relaxed=outline.relaxed)
        state.emptied_at = outline.base
        state.last_position = max(state.last_position, outline.last)
        state.arrived = dict(outline.arrived)
        if not outline.logged:
            self._state.close_log(queue)
        elif queue not in self._state.logs:
            self._state.open_log(queue)

    async def load(
        self,
        queue: QueueRef,
        *,
        messages: Sequence[Message] = (),
        claims: Sequence[Lease] = (),
        posts: Sequence[RememberedPost] = (),
        log: Sequence[Message] = (),
        epoch: int,
        now: Moment,
    ) -> None:
        now = self._state.at(now)
        state = self._fenced(queue, epoch)
        if state is None:
            raise Conflict(NOT_FENCED)
        for message in messages:
            state.put(message)
            state.waiting.discard(message.id)
            if message.available_at > now:
                state.waiting.add(message.id)
        for lease in claims:
            state.claims[lease.claim_id] = kept.Lease(
                lease.ttl, started_at=lease.started_at, expires_at=lease.expires_at
            )
        for post in posts:
            state.posts[post.key] = kept.RememberedPost(
                post.fingerprint, list(post.ids), post.until
            )
        if queue in self._state.logs:
            self._state.logs[queue].put(log)

    async def unload(self, queue: QueueRef, ids: Sequence[str], *, epoch: int, now: Moment) -> None:
        self._state.at(now)
        state = self._fenced(queue, epoch)
        if state is None:
            raise Conflict(NOT_FENCED)
        for message_id in set(ids) & state.messages.keys():
            state.remove(message_id)

    async def forget(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        self._state.at(now)
        if self._fenced(queue, epoch) is not None:
            self._state.drop(queue)
            self._state.close_log(queue)

    async def arrive(
        self, queue: QueueRef, letters: Sequence[Message], *, source: str, now: Moment
    ) -> None:
        now = self._state.at(now)
        state = self._state.find(queue)
        if state is None:
            raise QueueMissing
        for letter in letters:
            if letter.position > state.arrived.get(source, BEFORE_ALL):
                state.arrived[source] = letter.position
                position = state.take_position(now)
                state.put(replace(letter, position=position, claim_id=None, available_at=now))

    def _fenced(self, queue: QueueRef, epoch: int) -> QueueState | None:
        state = self._state.queues.get(queue)
        return state if state is not None and state.fenced and state.epoch == epoch else None


def _refuse_late(state: QueueState | None, epoch: int) -> None:
    if state is not None and (state.epoch > epoch or (state.epoch == epoch and not state.fenced)):
        raise Conflict(LATER)
