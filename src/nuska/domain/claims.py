"""A claim: a lease on messages, ended by its holder or by time."""

from msgspec import Struct

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import ClaimId

OVER_CLAIM_COUNT = "max_claim_count exceeded"
"""The reason a dead letter carries when claims used up its count."""


class DeadLetterRule(Struct, frozen=True, gc=False, kw_only=True):
    """When a claim moves a message away instead of handing it out (contract lifecycle §7)."""

    max_claims: int
    """A message that was handed out this often is moved at the next claim."""
    queue: QueueRef
    """Where to; created when missing; in the same project."""
    ttl: Duration | None = None
    """The moved message's new life, counted from the move; None keeps its end."""


class Claimed(Struct, frozen=True, gc=False):
    """The outcome of creating a claim."""

    messages: list[Message]
    """Oldest first; empty when nothing was free, and then there is no claim."""
    dead_lettered: int = 0
    """How many messages left for the dead-letter queue in the same step."""


class Claim(Struct, frozen=True, gc=False, kw_only=True):
    """A live claim and those of its messages that still exist."""

    id: ClaimId
    ttl: Duration
    started_at: Moment
    """Creation or last renewal; the age a client sees counts from here."""
    expires_at: Moment
    messages: list[Message]


def end_after_claim(ends_at: Moment, now: Moment, ttl: Duration, grace: Duration) -> Moment:
    """A claimed message's end: the later of its own and ``now + ttl + grace`` (I9).

    A claim prolongs a message and never shortens it, so that a worker that crashes
    leaves the message behind long enough for another to take it.
    """
    return Moment(max(ends_at, now + ttl + grace))
