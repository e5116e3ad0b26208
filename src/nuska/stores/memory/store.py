"""The model store as a ``Store``: its parts, its sweep and its end."""

from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import BEFORE_ALL
from nuska.interfaces.announcing import AnnouncementStore
from nuska.interfaces.pooling import PoolableMessageStore, TransferStore
from nuska.interfaces.records import RecordStore
from nuska.interfaces.storage import (
    Capabilities,
    ClaimStore,
    QueueStore,
    RandomBytes,
    SweepReport,
)
from nuska.stores.memory.announcements import MemoryAnnouncements
from nuska.stores.memory.claims import MemoryClaims
from nuska.stores.memory.messages import MemoryMessages
from nuska.stores.memory.queues import MemoryQueues
from nuska.stores.memory.records import MemoryRecords
from nuska.stores.memory.state import QueueState, State
from nuska.stores.memory.transfers import MemoryTransfers


class MemoryStore:
    """Plain dictionaries. Whoever reads the parts knows what every driver must do."""

    capabilities = Capabilities(
        names=frozenset({"FIFO", "CLAIMS", "AOD", "HIGH_THROUGHPUT"}), durable=False, shared=False
    )
    durability = "nothing: everything is gone when this process ends"

    def __init__(self, *, now: Moment, random_bytes: RandomBytes) -> None:
        self._state = State(now=now, random_bytes=random_bytes)
        self._closed = False
        self.queues: QueueStore = MemoryQueues(self._state)
        self.messages: PoolableMessageStore = MemoryMessages(self._state)
        self.claims: ClaimStore = MemoryClaims(self._state)
        self.announcements: AnnouncementStore = MemoryAnnouncements(self._state)
        self.records: RecordStore = MemoryRecords()
        self.transfers: TransferStore = MemoryTransfers(self._state)

    @property
    def latest(self) -> Moment:
        return self._state.latest

    async def ping(self) -> None:
        if self._closed:
            raise Unavailable("The memory store is closed.")

    async def sweep(self, *, now: Moment) -> SweepReport:
        """Everything there is to do, in one step: the model has no backlog to spare others."""
        now = self._state.at(now)
        removed = self._state.forget_retired(now)
        due: list[QueueRef] = []
        for ref, state in self._state.queues.items():
            removed += _remove_expired(state, now)
            if _note_due(state, now):
                due.append(ref)
        for log in self._state.logs.values():
            alive = log.alive(BEFORE_ALL, now)
            removed += len(log.announced) - len(alive)
            log.announced = alive
        return SweepReport(removed=removed, due=due)

    async def close(self) -> None:
        self._closed = True
        self._state.queues.clear()
        self._state.logs.clear()


def _remove_expired(state: QueueState, now: Moment) -> int:
    messages = [m for m in state.messages.values() if m.expires_at <= now]
    claims = [claim for claim, lease in state.claims.items() if lease.expires_at <= now]
    posts = [key for key, post in state.posts.items() if post.until <= now]
    for message in messages:
        state.remove(message.id)
    for claim in claims:
        del state.claims[claim]
    for key in posts:
        del state.posts[key]
    return len(messages) + len(claims) + len(posts)


def _note_due(state: QueueState, now: Moment) -> bool:
    """Whether messages have become available since the last look."""
    due = {waiting for waiting in state.waiting if state.messages[waiting].available_at <= now}
    state.waiting -= due
    return bool(due)
