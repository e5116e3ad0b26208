"""What a store adds so that queues can be placed over several of them (D12).

Two parts, beside what every store promises in ``interfaces/storage.py``:

- **records** (``interfaces/records.py``): whichever store holds the catalogue keeps pools,
  flavors and where each queue lies in them.
- **transfers**: a queue carried away whole, as it is: ids, positions, claims, counts,
  remembered posts. A queue that is *fenced* exists and answers nobody but the carrier:
  every other method that names it raises ``QueueAway`` and changes nothing, in whichever
  process it runs. That is what makes a move safe from a node that has not heard of it.
  What is done to a queue from outside belongs to an *epoch*, kept with the queue: who comes
  late, with an earlier epoch than the queue has seen, is refused by ``Conflict``. That is
  what makes it safe from a carrier that was held up while another finished its work.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from msgspec import Struct

from nuska.domain.messages import Added, Idempotency, Message, NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.pools import Carriage, Flavor, Pool, Whereabouts
from nuska.domain.positions import MessageId, Position
from nuska.domain.queues import Metadata
from nuska.interfaces.announcing import AnnouncementStore
from nuska.interfaces.records import RecordStore
from nuska.interfaces.storage import MessageStore, Store

LATER = "The queue has seen a later epoch."
NOT_FENCED = "The queue is not fenced in this epoch."
"""What a ``Conflict`` of a transfer says."""


class Lease(Struct, frozen=True, gc=False, kw_only=True):
    """A live claim, without its messages: they name it."""

    claim_id: str
    ttl: Duration
    started_at: Moment
    expires_at: Moment


class RememberedPost(Struct, frozen=True, gc=False, kw_only=True):
    """What a post with an idempotency key stored."""

    key: str
    fingerprint: bytes
    ids: list[MessageId]
    until: Moment


class Outline(Struct, frozen=True, kw_only=True):
    """A queue but for what it holds."""

    metadata: Metadata
    relaxed: bool
    base: Position
    """Positions up to here belong to what was purged or deleted."""
    last: Position
    """The highest position given so far."""
    fenced: bool = False
    epoch: int = 0
    """The latest in which it was made or fenced; 0 where it never was."""
    arrived: dict[str, Position] = {}
    """The last that came from each source (``arrive``)."""
    logged: bool = False
    """Its announcement log is open."""


class TransferStore(Protocol):
    async def outline(self, queue: QueueRef) -> Outline | None:
        """The queue's outline, fenced or not; None when it does not exist."""
        ...

    async def fence(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        """Fence the queue; one that does not exist is made, empty, so that nobody makes it.

        When this has returned, no operation that was under way changes it any more.
        ``Conflict``, and nothing changed, when the queue has seen a later epoch, or was opened
        in this one.
        """
        ...

    async def open(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        """Take the fence of this epoch away. Nothing happens to a queue that has none, or one
        of another epoch, or does not exist."""
        ...

    async def dump(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        """Every unexpired message by position, claimed and delayed ones too; also of a fenced
        queue. What changes meanwhile is seen or not: fence first for the truth."""
        ...

    async def dump_claims(self, queue: QueueRef, *, after: str, limit: int) -> list[Lease]:
        """Claims by id, after the id ``after``; perhaps some that are over."""
        ...

    async def dump_posts(self, queue: QueueRef, *, after: str, limit: int) -> list[RememberedPost]:
        """Remembered posts by key, after ``after``; perhaps some that are over."""
        ...

    async def dump_log(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> list[Message]:
        """What its announcement log holds, by position; also of a fenced queue."""
        ...

    async def begin(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        """Make the queue anew from ``outline``: fenced, empty, whatever was there before gone.

        Its announcement log is open afterwards if and only if ``outline.logged``, and empty.

        ``Conflict``, and nothing changed, when the queue has seen a later epoch, or was opened
        in this one. ``outline.fenced`` and ``outline.epoch`` mean nothing here.
        """
        ...

    async def amend(self, queue: QueueRef, outline: Outline, *, epoch: int, now: Moment) -> None:
        """Give a fenced queue what ``outline`` says and leave what was loaded: its source has
        been in use meanwhile. A log that is no longer open is dropped. ``Conflict`` when the
        queue is not fenced in this epoch."""
        ...

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
        """Put into a fenced queue what a dump gave, each in place of what has the same position,
        id or key; what a log gave, if the queue's log is open. ``Conflict`` when the queue is not
        fenced in this epoch."""
        ...

    async def unload(self, queue: QueueRef, ids: Sequence[str], *, epoch: int, now: Moment) -> None:
        """Take messages out of a fenced queue that its source does not hold any more.
        ``Conflict`` as for ``load``."""
        ...

    async def forget(self, queue: QueueRef, *, epoch: int, now: Moment) -> None:
        """Remove a queue fenced in this epoch with all it holds, fence, log and all. Nothing
        happens to any other."""
        ...

    async def arrive(
        self, queue: QueueRef, letters: Sequence[Message], *, source: str, now: Moment
    ) -> None:
        """Store messages from elsewhere at the tail, available at once, with the ids and all
        they have: once. ``letters`` are in order of their positions at ``source``; those that
        are not above the last which came from there are passed over.

        Raises ``QueueMissing`` when nobody created the queue.
        """
        ...


class PoolableMessageStore(MessageStore, Protocol):
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
        """As ``MessageStore.add``; unless ``create``, a missing queue raises ``QueueMissing``."""
        ...


@runtime_checkable
class PoolableStore(Store, Protocol):
    """A store that can be a pool, or hold the catalogue."""

    @property
    def messages(self) -> PoolableMessageStore: ...

    @property
    def announcements(self) -> AnnouncementStore: ...

    @property
    def records(self) -> RecordStore: ...

    @property
    def transfers(self) -> TransferStore: ...


class Placement(Protocol):
    """Pools, flavors and where queues lie, as an operator sees and changes them."""

    async def pool(self, name: str) -> Pool | None: ...

    async def pools(self, *, after: str, limit: int) -> list[Pool]:
        """Pools by name, after the name ``after``."""
        ...

    async def put_pool(self, pool: Pool) -> None:
        """Add the pool or put it in place of the one of its name.

        ``InvalidInput`` when its store cannot be opened, or can do other things than the pools
        of its flavor; ``Conflict`` when another pool has the URI.
        """
        ...

    async def remove_pool(self, name: str) -> None:
        """Remove a pool; queues in it that hold nothing are placed anew first.

        ``NotAllowed`` when it is the only pool of its flavor; ``Conflict``, saying how many,
        when queues in it hold messages. Nothing happens when there is no such pool.
        """
        ...

    async def pool_capabilities(self, name: str) -> frozenset[str]:
        """Zaqar's names for what the pool's store can do; ``Unavailable`` when it is down."""
        ...

    async def flavor(self, name: str) -> Flavor | None: ...

    async def flavors(self, *, after: str, limit: int) -> list[Flavor]:
        """Flavors by name, after the name ``after``."""
        ...

    async def put_flavor(self, flavor: Flavor) -> None:
        """Add the flavor, or change which pools it has: those listed get it, and those that had
        it and are not listed lose it. ``InvalidInput`` for an unknown pool, or pools that can
        do different things."""
        ...

    async def remove_flavor(self, name: str) -> None:
        """Remove the flavor; its pools lose it. Nothing happens when there is none."""
        ...

    async def whereabouts(self, queue: QueueRef) -> Whereabouts | None:
        """Where the queue lies now, as the catalogue says; None when there is no such queue."""
        ...

    async def start_move(self, queue: QueueRef, target: str) -> None:
        """Have some node carry the queue to the pool ``target``; asking again changes nothing.

        ``NotFound`` when there is no such queue, ``InvalidInput`` when there is no such pool.
        """
        ...

    async def move_of(self, queue: QueueRef) -> Carriage | None:
        """How far the last move of the queue has come; None when there was none lately."""
        ...

    async def start_drain(self, pool: str, target: str | None) -> None:
        """Set the pool's weight to 0 and have some node carry every queue in it elsewhere, to
        ``target`` or wherever their flavors allow. ``NotFound`` when there is no such pool,
        ``InvalidInput`` when there is no such target, ``Conflict`` when there is none at all."""
        ...

    async def drain_of(self, pool: str) -> Carriage | None:
        """How far the last drain of the pool has come; None when there was none lately."""
        ...

    async def stores(self) -> dict[str, Store | None]:
        """The store of every pool by the pool's name, None for one that is down; by ``OWN`` the
        store that keeps the catalogue."""
        ...

    async def catalogue_answers(self) -> bool:
        """Whether the store that holds the catalogue answers."""
        ...
