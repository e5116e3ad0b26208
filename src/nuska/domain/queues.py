"""A queue and what is counted about it."""

from msgspec import Struct

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.positions import MessageId, Position

Metadata = dict[str, object]
"""A free-form JSON object; keys that start with ``_`` are reserved (contract http-v2 §2.1)."""


class Queue(Struct, frozen=True, kw_only=True):
    """A queue that exists. Treat ``metadata`` as read-only: stores may share it."""

    ref: QueueRef
    metadata: Metadata
    relaxed: bool = False
    """Writes are acknowledged before they are synced (``_durability: "relaxed"``)."""
    version: int = 1
    """Goes up with every change of metadata; the guard of compare-and-set. No later queue of
    the name ever has it."""


class Landmark(Struct, frozen=True, gc=False):
    """The oldest or newest message, as statistics show it."""

    id: MessageId
    created_at: Moment


class Stats(Struct, frozen=True, gc=False, kw_only=True):
    """Counts of unexpired messages; their sum is what is stored (I14)."""

    ready: int = 0
    delayed: int = 0
    claimed: int = 0
    oldest: Landmark | None = None
    newest: Landmark | None = None


EMPTY_STATS = Stats()


class Measure(Struct, frozen=True, gc=False, kw_only=True):
    """What one stretch of a queue holds."""

    messages: int = 0
    bytes: int = 0
    """Of bodies and attributes, as they lie in the store."""
    marker: Position | None = None
    """The next stretch begins after this; None: the queue ended here."""


NOTHING_HELD = Measure()
