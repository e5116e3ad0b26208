"""Everything the model store knows: queues by name, and one timeline.

No asyncio here and no rule about claims; only what all parts of the store share. A
method of the store runs from its first line to its last without awaiting, which is
what makes each of them one atomic step.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from nuska.domain.errors import QueueAway
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import BEFORE_ALL, MessageId, Position, floor_at, next_position
from nuska.domain.queues import Metadata, Queue
from nuska.interfaces.storage import RandomBytes


@dataclass(slots=True)
class Lease:
    """A claim; which messages it holds is written in the messages."""

    ttl: Duration
    started_at: Moment
    expires_at: Moment


@dataclass(slots=True)
class RememberedPost:
    """What a post with an idempotency key did."""

    fingerprint: bytes
    ids: list[MessageId]
    until: Moment


@dataclass(slots=True)
class Log:
    """What was posted to a queue since somebody listens, by position."""

    version: str
    announced: list[Message] = field(default_factory=list)

    def alive(self, after: Position, now: Moment) -> list[Message]:
        return [m for m in self.announced if m.position > after and now < m.expires_at]

    def put(self, messages: Iterable[Message]) -> None:
        """Write each at its position, new or again."""
        by_position = {m.position: m for m in (*self.announced, *messages)}
        self.announced = [by_position[position] for position in sorted(by_position)]


@dataclass(slots=True)
class QueueState:
    """One queue that exists."""

    queue: Queue
    last_position: Position
    """The highest position given so far."""
    emptied_at: Position
    """The highest position that the last purge, or an earlier queue of this name, took."""
    messages: dict[str, Message] = field(default_factory=dict)
    """By id, and always in order of position."""
    claims: dict[str, Lease] = field(default_factory=dict)
    posts: dict[str, RememberedPost] = field(default_factory=dict)
    """By idempotency key."""
    waiting: set[str] = field(default_factory=set)
    """Ids put aside by a delay or a claim, until a sweep has reported them due."""
    fenced: bool = False
    epoch: int = 0
    arrived: dict[str, Position] = field(default_factory=dict)
    """The last message that came from each source elsewhere."""

    def take_position(self, now: Moment) -> Position:
        self.last_position = next_position(self.last_position, now)
        return self.last_position

    def existing(self, now: Moment) -> list[Message]:
        """Every message that has not expired, by position; claims that are over are gone."""
        return [as_seen(m, now) for m in self.messages.values() if now < m.expires_at]

    def find(self, message_id: str, now: Moment) -> Message | None:
        message = self.messages.get(message_id)
        return as_seen(message, now) if message is not None and now < message.expires_at else None

    def available(self, now: Moment) -> Iterator[Message]:
        """What a claim or a pop may take, oldest first; the queue may change meanwhile."""
        for message in list(self.messages.values()):
            if message.available_at <= now < message.expires_at:
                yield as_seen(message, now)

    def live_claim(self, claim_id: str, now: Moment) -> Lease | None:
        lease = self.claims.get(claim_id)
        return lease if lease is not None and now < lease.expires_at else None

    def held_by(self, claim_id: str, now: Moment) -> list[Message]:
        return [m for m in self.existing(now) if m.claim_id == claim_id]

    def put(self, message: Message) -> None:
        """Write ``message`` at its position, new or changed."""
        is_new = message.id not in self.messages
        self.messages[message.id] = message
        if is_new and message.position < self.last_position:  # came back to an old place
            in_order = sorted(self.messages.values(), key=lambda m: m.position)
            self.messages = {m.id: m for m in in_order}

    def remove(self, message_id: str) -> None:
        del self.messages[message_id]
        self.waiting.discard(message_id)

    def clear(self) -> None:
        """Forget messages and claims; nothing popped earlier can come back."""
        self.emptied_at = self.last_position
        self.messages = {}
        self.claims = {}
        self.waiting = set()


def as_seen(message: Message, now: Moment) -> Message:
    """``message`` without a claim that is over."""
    if message.claim_id is not None and message.available_at <= now:
        return msgspec.structs.replace(message, claim_id=None)
    return message


class State:
    """All queues of all projects."""

    def __init__(self, *, now: Moment, random_bytes: RandomBytes) -> None:
        self.queues: dict[QueueRef, QueueState] = {}
        self.logs: dict[QueueRef, Log] = {}
        """Those that are open, also of queues that do not exist."""
        self.random_bytes = random_bytes
        self._retired: dict[QueueRef, Position] = {}
        self._last_version = 0
        self._now = now

    def at(self, now: Moment) -> Moment:
        """The moment of an operation: time never runs backwards here."""
        self._now = max(self._now, now)
        return self._now

    @property
    def latest(self) -> Moment:
        """The last moment this store has seen, for methods that are given none."""
        return self._now

    def create(
        self, ref: QueueRef, now: Moment, metadata: Metadata, *, relaxed: bool = False
    ) -> QueueState:
        """Start a queue above every position its name has ever seen."""
        below = self.below(ref, now)
        self._retired.pop(ref, None)
        queue = self.describe(ref, metadata, relaxed=relaxed)
        state = QueueState(queue, last_position=below, emptied_at=below)
        self.queues[ref] = state
        return state

    def below(self, ref: QueueRef, now: Moment) -> Position:
        """Every position of a queue that nobody has created is above this, once there is one."""
        return Position(next_position(self._retired.get(ref, BEFORE_ALL), now) - 1)

    def find(self, ref: QueueRef) -> QueueState | None:
        """The queue for whoever uses it; ``QueueAway`` when it is fenced."""
        state = self.queues.get(ref)
        if state is not None and state.fenced:
            raise QueueAway
        return state

    def find_or_create(self, ref: QueueRef, now: Moment) -> QueueState:
        state = self.find(ref)
        return state if state is not None else self.create(ref, now, {})

    def describe(self, ref: QueueRef, metadata: Metadata, *, relaxed: bool) -> Queue:
        """A queue's record with a version that no record ever had: not one of an earlier
        queue of this name either."""
        self._last_version += 1
        return Queue(
            ref=ref, metadata=own_copy(metadata), relaxed=relaxed, version=self._last_version
        )

    def drop(self, ref: QueueRef) -> None:
        state = self.queues.pop(ref, None)
        if state is not None:
            self._retired[ref] = state.last_position
        self.empty_log(ref)

    def open_log(self, ref: QueueRef) -> Log:
        """Keep what is posted from now on; a version that no log ever had."""
        self._last_version += 1
        log = self.logs.setdefault(ref, Log(""))
        log.version = str(self._last_version)
        return log

    def close_log(self, ref: QueueRef) -> None:
        self.logs.pop(ref, None)

    def empty_log(self, ref: QueueRef) -> None:
        """Forget what was announced; whoever listens goes on listening."""
        if ref in self.logs:
            self.logs[ref].announced = []

    def forget_retired(self, now: Moment) -> int:
        """Drop the last positions of deleted names that the present has overtaken."""
        overtaken = [ref for ref, last in self._retired.items() if last < floor_at(now)]
        for ref in overtaken:
            del self._retired[ref]
        return len(overtaken)


def own_copy(metadata: Metadata) -> Metadata:
    """A copy that shares nothing with the caller's."""
    copy: Metadata = msgspec.json.decode(msgspec.json.encode(metadata))
    return copy
