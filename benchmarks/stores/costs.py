"""What one operation, one message and one waiting client cost: what ``benchmarks.scale`` reads.

CPU is in microseconds, of a node and of the store's processes apart; sizes are in bytes.
"""

from msgspec import Struct


class Cpu(Struct, frozen=True):
    """Of one request."""

    node: float
    store: float


class Costs(Struct, kw_only=True):
    """Empty where a phase has not run."""

    post: dict[int, Cpu] = {}
    """By messages in the request."""
    work: Cpu | None = None
    """A claim of ten or the bulk delete of them: the mean of the two requests."""
    empty_claim: Cpu | None = None
    """A claim that finds nothing."""
    waiter: Cpu | None = None
    """A claim that waits, for each second."""
    waiter_bytes: float | None = None
    """Of a node's memory."""
    heard: float | None = None
    """Microseconds of a node for each message that another node has taken in."""
    written: dict[int, float] = {}
    """Bytes that the store has had written to its disk for each message posted, by messages in
    the request."""
    message_disk_bytes: float | None = None
    message_memory_bytes: float | None = None
    queue_disk_bytes: float | None = None
    """Of a queue with one message."""
    queue_memory_bytes: float | None = None
    one_queue_per_second: float | None = None
    """Messages that three nodes could post to one queue, one a request."""
