"""A message, before and after it is stored.

Bodies are the posted JSON text as bytes, checked once and never encoded again; the
service does not look inside. Tenancy rides in the type: no function takes a bare queue
name, so none can forget the project.
"""

from enum import Enum, auto

from msgspec import Struct

from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position


class QueueRef(Struct, frozen=True, gc=False):
    """A queue's full name: names are unique within a project only."""

    project: str
    name: str


class NewMessage(Struct, frozen=True, gc=False, kw_only=True):
    """What a producer hands in, with every default already applied."""

    body: bytes
    """JSON text, UTF-8."""
    ttl: Duration
    delay: Duration = Duration(0)
    attributes: bytes | None = None
    """A JSON object as text, or None; shown only to readers that ask."""


class DeadLetter(Struct, frozen=True, gc=False, kw_only=True):
    """Why a message is in a dead-letter queue."""

    origin: str
    """The queue it came from, in the same project."""
    reason: str
    claim_count: int
    at: Moment


class Message(Struct, frozen=True, gc=False, kw_only=True):
    """What the service keeps."""

    id: MessageId
    position: Position
    """Where it stands now; the id names where it was posted."""
    body: bytes
    ttl: Duration
    """As shown to clients: the posted one, or what a claim extended it to."""
    created_at: Moment
    expires_at: Moment
    """Gone at this moment, claimed or not."""
    available_at: Moment
    """Not before this moment can it be claimed: the end of its claim or delay, else
    a moment that has passed."""
    claim_id: str | None = None
    """The claim it is in, if that claim is live."""
    claim_count: int = 0
    """How many claims have handed it out."""
    poster: bytes = b""
    """The comparable form of the poster's Client-ID."""
    attributes: bytes | None = None
    dead: DeadLetter | None = None
    stored: bytes | None = None
    """The body as it lies in the store, where that is sealed and ``body`` is not."""


class Idempotency(Struct, frozen=True, gc=False):
    """A producer's promise that two posts with one key are the same post."""

    key: str
    fingerprint: bytes
    """Digest of what was posted: the same key with other content is a mistake."""


class Added(Struct, frozen=True, gc=False):
    """The outcome of a post."""

    ids: list[MessageId]
    """In the order posted."""
    replayed: bool = False
    """True when an earlier post with the same key already stored these."""


class Page(Struct, frozen=True, gc=False):
    """One page of a listing."""

    messages: list[Message]
    marker: Position
    """Continue after this; the given start when the page is empty."""


class DeleteOutcome(Enum):
    """What became of a request to delete one message (contract http-v2 §3.5)."""

    DELETED = auto()
    MISSING = auto()
    CLAIMED = auto()
    """No claim was named, and the message is in a live one."""
    OTHER_CLAIM = auto()
    """A live claim of this queue was named, but another one holds the message."""
    NOT_CLAIMED = auto()
    """A claim was named, but the message is in none."""
    CLAIM_GONE = auto()
    """The named claim is over, malformed, or never was."""
