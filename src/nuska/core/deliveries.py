"""What has been tried to tell subscribers: attempts as they are kept, for a bounded time.

They stand in an internal queue of their own, many in one message: telling a subscriber must not
cost a message for every attempt. Read by time, because positions begin with it.
"""

import msgspec
from msgspec import Struct

from nuska.domain.internal import internal
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position, floor_at
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.storage import MessageStore

CHUNK = 500
"""Attempts in one message, at most."""
CHUNKS_PER_PAGE = 50
CHUNKS_PER_LOOK = 1_000
"""What one request reads through; who wants more goes on from where it ended."""


class Attempt(Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """One attempt to tell one subscriber of one message. Fields are only ever added."""

    subscription: SubscriptionId
    message: MessageId
    at: Moment
    """When it had ended."""
    number: int
    """Counts from 1."""
    ok: bool
    latency: Duration
    status: int | None = None
    error: str | None = None
    next_at: Moment | None = None
    """When it is tried again; None when it is not."""


class Attempts(Struct, frozen=True):
    """Some attempts, oldest first."""

    attempts: list[Attempt]
    marker: Position
    """Go on after this."""
    complete: bool
    """There are no more at the moment."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Attempt]).decode


def encode_attempts(attempts: list[Attempt]) -> bytes:
    return _encode(attempts)


async def attempts_since(
    store: MessageStore,
    queue: QueueRef,
    subscription_id: str,
    *,
    since: Moment,
    after: Position | None = None,
    limit: int,
    now: Moment,
) -> Attempts:
    """Attempts for a subscription from ``since`` on, about ``limit`` of them; ``after``: the
    marker of the page before."""
    marker = Position(floor_at(since) - 1) if after is None else after
    found: list[Attempt] = []
    for _ in range(CHUNKS_PER_LOOK // CHUNKS_PER_PAGE):
        page = await store.page(
            internal("attempts", queue), after=marker, limit=CHUNKS_PER_PAGE, now=now
        )
        for chunk in page.messages:
            marker = chunk.position
            found += [
                attempt
                for attempt in _decode(chunk.body)
                if attempt.subscription == subscription_id and attempt.at >= since
            ]
            if len(found) >= limit:
                return Attempts(found, marker, complete=False)
        if len(page.messages) < CHUNKS_PER_PAGE:
            return Attempts(found, marker, complete=True)
    return Attempts(found, marker, complete=False)
