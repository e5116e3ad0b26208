"""What every storage driver promises.

The promises are stated here and checked in ``nuska.testing.conformance``; a driver is
done when it passes that suite, and not before.

Shared by all methods:
- A queue nobody created behaves as an empty one, unless the method says otherwise.
- ``now`` is the caller's clock; a driver never reads one of its own. A store's timeline
  never runs backwards: an operation happens at the later of ``now`` and the last moment the
  store has seen, also across a restart.
- What ends at T is over at T. Expired messages and claims do not exist for any method,
  whether or not they have been swept.
- A method that returns from a write has made it as durable as the driver's
  ``durability`` says (D18: unless the queue is relaxed). It happens whole or not at all.
- A backend that cannot be reached, or cannot write, raises ``Unavailable`` with the cause
  chained, and works again by itself when the backend does.
- Stores know no API limits: any delay, any length of claim, any page size is possible.
- Ids from elsewhere (another queue, another project, malformed) are ids that do not exist.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Protocol, runtime_checkable

from msgspec import Struct

from nuska.domain.claims import Claim, Claimed, DeadLetterRule
from nuska.domain.messages import (
    Added,
    DeleteOutcome,
    Idempotency,
    Message,
    NewMessage,
    Page,
    QueueRef,
)
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position
from nuska.domain.queues import Measure, Metadata, Queue, Stats

RandomBytes = Callable[[int], bytes]
"""Unpredictable bytes, as ``os.urandom``; tests pass a seeded source."""


Hear = Callable[[QueueRef | None, int], None]
"""Told that so many messages became available in a queue, or, for None, perhaps in any."""


class Durability(IntEnum):
    """How far an acknowledged write has come before it is acknowledged; more includes less."""

    NONE = 0
    """To a process, or a disk, that may yet lose it."""
    FSYNC = 1
    """Synced to a disk."""
    MAJORITY = 2
    """And received by more than half of the servers that keep a copy."""


class Capabilities(Struct, frozen=True, kw_only=True):
    """What a driver can do, as data."""

    names: frozenset[str]
    """Zaqar's names: FIFO, CLAIMS, DURABILITY, AOD, HIGH_THROUGHPUT."""
    durable: bool
    """Acknowledged writes survive a restart of the process."""
    shared: bool
    """Several processes may open the same store."""
    durability: Durability = Durability.NONE
    """What every acknowledged write has reached (D18: unless the queue is relaxed)."""


class SweepReport(Struct, frozen=True, gc=False, kw_only=True):
    """What one step of sweeping did."""

    removed: int = 0
    """Rows removed: expired messages and claims, old generations, old idempotency keys."""
    due: list[QueueRef] = []
    """Queues in which waiting messages were made ready."""
    more: bool = False
    """There is more to do now."""


class QueueStore(Protocol):
    async def create(
        self, ref: QueueRef, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        """Create a queue. False, and nothing changed, when it exists."""
        ...

    async def get(self, ref: QueueRef) -> Queue | None:
        """The queue, or None when nobody created it. Cheap: asked on every request."""
        ...

    async def replace_metadata(
        self, queue: Queue, metadata: Metadata, *, relaxed: bool = False, now: Moment
    ) -> bool:
        """Store ``metadata`` if the queue still exists with ``queue.version``; else False."""
        ...

    async def delete(self, ref: QueueRef, *, now: Moment) -> None:
        """Remove the queue, its metadata, messages and claims in O(1); the name starts empty.

        Space is given back by ``sweep``.
        """
        ...

    async def purge(self, ref: QueueRef, *, now: Moment) -> None:
        """Remove every message and claim in O(1), claimed and delayed ones too; keep metadata."""
        ...

    async def page(
        self,
        project: str,
        *,
        after: str | None,
        limit: int,
        name_contains: str | None = None,
        metadata_equals: Metadata | None = None,
        with_metadata: bool = True,
    ) -> list[Queue]:
        """Queues of ``project`` by name (code point order), after the name ``after``.

        Unless ``with_metadata``, only names count: the rest of a queue may be left out.

        ``name_contains`` is a plain substring; every pair of ``metadata_equals`` must be
        a top-level pair of the metadata, equal in type and value.
        """
        ...

    async def count(self, project: str) -> int:
        """How many queues the project has."""
        ...

    async def stats(self, ref: QueueRef, *, now: Moment) -> Stats: ...


class MessageStore(Protocol):
    async def add(
        self,
        queue: QueueRef,
        messages: Sequence[NewMessage],
        *,
        poster: bytes = b"",
        idempotency: Idempotency | None = None,
        now: Moment,
    ) -> Added:
        """Store ``messages`` at the tail, all or none; a missing queue is created.

        Positions, and with them list and first-claim order, follow commit order. With
        ``idempotency`` and a key this queue has seen within ``IDEMPOTENCY_TTL``: nothing is
        stored and the first ids are returned; ``Conflict`` when the fingerprint differs.
        No ``messages`` with ``idempotency`` are a question for that alone: nothing is stored,
        no queue is created and no key remembered, whatever the answer.
        """
        ...

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
        """Messages by position, after ``after``; a full page unless the end was reached.

        Available ones always; claimed and delayed ones when asked for; never those of
        ``hide_poster``.
        """
        ...

    async def position_of(self, queue: QueueRef, message_id: str) -> Position | None:
        """The position that paging after this message means, also when it is gone.

        None when ``message_id`` cannot be an id of this store.
        """
        ...

    async def get(self, queue: QueueRef, ids: Sequence[str], *, now: Moment) -> list[Message]:
        """Those of ``ids`` that exist, each once, in the order asked, claimed and delayed too."""
        ...

    async def delete(
        self, queue: QueueRef, message_id: str, *, claim_id: str | None = None, now: Moment
    ) -> DeleteOutcome:
        """Delete one message if the rules of contract http-v2 §3.5 allow it, else nothing.

        ``MISSING`` goes before every question about claims, and ``CLAIM_GONE`` before every
        other question about a named claim.
        """
        ...

    async def delete_many(
        self,
        queue: QueueRef,
        ids: Sequence[str],
        *,
        claim_ids: Sequence[str] | None = None,
        now: Moment,
    ) -> bool:
        """Delete those of ``ids`` that exist, claimed or not.

        With ``claim_ids``: only if every one of them that exists is in a live claim that is
        named; else False and nothing is deleted.
        """
        ...

    async def pop(self, queue: QueueRef, *, limit: int, now: Moment) -> list[Message]:
        """Take and delete up to ``limit`` available messages, oldest first, atomically.

        Not a claim: counts nothing and dead-letters nothing.
        """
        ...

    async def put_back(self, queue: QueueRef, popped: Sequence[Message], *, now: Moment) -> None:
        """Undo a pop whose caller has gone: the messages stand where they stood.

        Nothing happens to those that have expired, or when the queue was purged or deleted
        since. A pop is undone at most once; undoing it again at once changes nothing.
        """
        ...

    async def next_due(self, queue: QueueRef, *, now: Moment) -> Moment | None:
        """The earliest moment after ``now`` at which a waiting message becomes available.

        Not later than that; a store may name the end of a claim that holds nothing any more.
        """
        ...

    async def measure(
        self, queue: QueueRef, *, after: Position, limit: int, now: Moment
    ) -> Measure:
        """How much there is, claimed and delayed messages too, among those that stand after
        ``after``: a stretch of at most ``limit``, by position. No body is read for it.

        Of a dead letter a store may count the bytes of its reason as well.
        """
        ...


class ClaimStore(Protocol):
    async def create(
        self,
        queue: QueueRef,
        *,
        claim_id: str,
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead_letters: DeadLetterRule | None = None,
        now: Moment,
    ) -> Claimed:
        """Hand up to ``limit`` available messages, oldest first, to one claim.

        Atomic: no two live claims share a message. Each message's count goes up by one and
        its end becomes the later of itself and now + ttl + grace; the ttl shown is then
        ttl + grace. With ``dead_letters``, a candidate whose count has reached the maximum
        moves to that queue's tail instead, in the same step, keeping id, body, creation,
        poster and count, and is available there at once. One call moves at most
        ``DEAD_LETTERS_PER_CLAIM``; before choosing it makes at least ``DUE_PER_CLAIM`` due
        messages available (all of them, when there are no more). When nothing is handed out
        there is no claim.
        """
        ...

    async def get(self, queue: QueueRef, claim_id: str, *, now: Moment) -> Claim | None:
        """The claim while it is live, with its undeleted messages by position; else None."""
        ...

    async def renew(
        self, queue: QueueRef, claim_id: str, *, ttl: Duration, grace: Duration, now: Moment
    ) -> bool:
        """Start a live claim anew: age 0, end now + ttl, messages extended as by ``create``.

        Their counts stay. False, and nothing changed, when the claim is not live.
        """
        ...

    async def release(
        self, queue: QueueRef, claim_id: str, *, uncount: bool = False, now: Moment
    ) -> int:
        """End a live claim; its messages are available at once at their old positions.

        Returns how many. ``uncount``: the claim never reached its caller, so the counts of
        its messages go back by one.
        """
        ...

    async def count(self, queue: QueueRef, *, now: Moment) -> int:
        """How many live claims hold messages; one whose messages are all deleted holds none."""
        ...


@runtime_checkable
class ClaimsTogether(Protocol):
    """What a ``ClaimStore`` may have as well: several claims in one step."""

    async def create_together(
        self,
        queue: QueueRef,
        *,
        claim_ids: Sequence[str],
        limit: int,
        ttl: Duration,
        grace: Duration,
        dead_letters: DeadLetterRule | None = None,
        enough: int,
        now: Moment,
    ) -> list[Claimed]:
        """A ``create`` for each of ``claim_ids``, one after the other and in one step. The last
        is the first that finds nothing, or with which ``enough`` bytes of bodies are handed
        out; there is at least one."""
        ...


class Store(Protocol):
    """One storage engine, opened."""

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def durability(self) -> str:
        """One sentence for people: what an acknowledged write survives."""
        ...

    @property
    def queues(self) -> QueueStore: ...

    @property
    def messages(self) -> MessageStore: ...

    @property
    def claims(self) -> ClaimStore: ...

    @property
    def latest(self) -> Moment:
        """The last moment of the store's timeline. Nothing happens before it, so a clock that
        lags behind it would make time stand still: it is set to go on from here."""
        ...

    async def ping(self) -> None:
        """Return if the store can answer now; else raise ``Unavailable``."""
        ...

    async def sweep(self, *, now: Moment) -> SweepReport:
        """Do one small step of clearing away: expired messages and claims, messages whose
        claim or delay is over made ready, old generations, unused space. Takes at most a few
        milliseconds; ``more`` says that another step has work."""
        ...

    async def close(self) -> None:
        """Finish writes in flight and let go of everything. A second call does nothing."""
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """A store that several nodes have open, and that gives them one timeline and tells each of
    what the others do. One with ``capabilities.shared`` that is not this leaves both to them:
    their clocks must agree, and their waiters hear only of their own node."""

    async def time(self) -> Moment:
        """What the server's clock says; every node asks the same one."""
        ...

    def tell(self, queue: QueueRef, messages: int) -> None:
        """Let other nodes know that ``messages`` became available. Never waits, never fails."""
        ...

    async def hear_others(self, hear: Hear) -> None:
        """Pass on what other nodes tell, until cancelled; when that may be incomplete,
        ``hear(None, 0)``: any queue may have something. Hints, never the truth (D13)."""
        ...


@runtime_checkable
class SelectiveStore(SharedStore, Protocol):
    """One that passes on what this node wants to hear and little else, so that what a node
    hears does not grow with the number of nodes."""

    def heed(self, queue: QueueRef | None) -> None:
        """Somebody more here wants to hear of ``queue``; None: of every queue, which is how a
        store begins. He may look after he has called this and rely on hints from then on: what
        was told before the store listens is made up for by a ``hear``. Never waits."""
        ...

    def disregard(self, queue: QueueRef | None) -> None:
        """He does not any more: takes back one ``heed``, or the beginning."""
        ...


class StoreOptions(Struct, frozen=True, kw_only=True):
    """What a driver's ``open_store(options)`` is given."""

    url: str
    """``sqlite:`` (under the data directory), ``sqlite:///absolute/path``, ``memory:``, …"""
    data_dir: str
    now: Moment
    """The moment of opening; the timeline starts no earlier, unless the store is shared: then
    a node's own clock says nothing."""
    random_bytes: RandomBytes
    required: Durability = Durability.NONE
    """The least that acknowledged writes must reach: a driver that can wait for it waits.
    Whoever opens the store looks at its capabilities, and refuses less."""
