"""What a queue's metadata means for a post or a claim; how long a subscription lasts.

The store is asked every time, so a change counts from the next request on; working out the
settings costs less than remembering them safely would.
"""

from nuska.domain.errors import InvalidInput
from nuska.domain.limits import MIN_SUBSCRIPTION_TTL, Limits
from nuska.domain.messages import QueueRef
from nuska.domain.metadata import QueueSettings, settings_of
from nuska.domain.moments import LAST_MOMENT, Duration, Moment, after, seconds
from nuska.interfaces.storage import QueueStore

_NO_QUEUE = QueueRef("", "")


class Terms:
    def __init__(self, queues: QueueStore, limits: Limits) -> None:
        self._queues = queues
        self._limits = limits
        self._defaults = settings_of(_NO_QUEUE, {}, limits)

    async def of(self, ref: QueueRef) -> QueueSettings:
        """The settings of a queue; the defaults for one that nobody created."""
        queue = await self._queues.get(ref)
        if queue is None or not queue.metadata:
            return self._defaults
        return settings_of(ref, queue.metadata, self._limits)


def subscription_ttl(asked: int | None, limits: Limits, now: Moment) -> Duration:
    """How long a subscription made, or renewed, at ``now`` lasts."""
    if asked is None:
        return seconds(limits.default_subscription_ttl)
    ttl = seconds(asked)
    if asked < MIN_SUBSCRIPTION_TTL or after(now, ttl) > LAST_MOMENT:
        raise InvalidInput(
            f"The value of ttl must be at least {MIN_SUBSCRIPTION_TTL} seconds, and end "
            f"before the year 10000, not {int(asked)}."
        )
    return ttl
