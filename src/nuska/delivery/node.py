"""What all followed queues of one process share."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from nuska.core.live_logs import LiveLogs
from nuska.core.subscription_records import Seen, SubscriptionRecords
from nuska.delivery.attempting import Attempting
from nuska.delivery.bounds import DeliveryBounds
from nuska.delivery.counters import DeliveryCounters
from nuska.delivery.dispatch import Dispatch
from nuska.delivery.held import HeldBytes
from nuska.delivery.pages import PageBudget
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.announcing import AnnouncementStore
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.storage import RandomBytes

MOST_WAITING = 50_000
"""Messages that wait for somebody in memory, counted for each for whom they wait, before
everybody gets less room."""


class Woken(Protocol):
    """A followed queue, as those who wake it see it."""


class Node(Struct):
    store: SubscribableStore
    records: SubscriptionRecords
    logs: AnnouncementStore
    """Bodies in them are as they were posted."""
    clock: Clock
    random_bytes: RandomBytes
    bounds: DeliveryBounds
    dispatch: Dispatch
    attempting: Attempting
    counters: DeliveryCounters
    budget: PageBudget
    held: HeldBytes
    may_be_told: Callable[[Subscription], bool]
    remove: Callable[[Seen[Subscription]], Awaitable[None]]
    """Removes a subscription with all that belongs to it."""
    wake: Callable[[Woken], None]
    """Have a followed queue look what there is to do."""
    wake_at: Callable[[Woken, Moment], None]
    announce: Callable[[QueueRef, int], None]
    """Told of messages that became available in a queue of a caller."""
    listened: LiveLogs | None = None
    """What is kept in logs for those who listen live."""
    waiting: int = 0
    """Messages that wait for somebody in memory, counted for each for whom they wait."""
    stopping: bool = False
