"""How a subscription comes into being, while others may make the same one.

The queue's announcement log is opened before anybody can count on being told: whatever is posted
after the answer is in the log, above the position from which the subscription begins.
"""

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.change_notes import ChangeNotes
from nuska.core.subscriber_index import ATTEMPTS, SubscriberIndex, too_busy
from nuska.core.subscribers import Subscribers
from nuska.core.subscription_records import Cursor, Seen, SubscriptionRecords
from nuska.core.terms import subscription_ttl
from nuska.domain.errors import Conflict
from nuska.domain.letters import restarted
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.positions import Position
from nuska.domain.subscriptions import (
    SUBSCRIPTION_ID_BYTES,
    Options,
    Subscription,
    subscription_id,
)
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.records import ABSENT
from nuska.interfaces.storage import RandomBytes

MAKING_TAKES = seconds(60)
"""At most: what takes longer is begun anew."""


class SubscriptionDraft(Struct, frozen=True, kw_only=True):
    """A subscription as asked for: types checked, neither limits nor defaults applied."""

    subscriber: str
    ttl: int | None = None
    options: Options | None = None


class Making:
    """Of the subscriptions of one store."""

    def __init__(
        self,
        store: SubscribableStore,
        clock: Clock,
        limits: Limits,
        random_bytes: RandomBytes,
        subscribers: Subscribers,
    ) -> None:
        self._store = store
        self._clock = clock
        self._limits = limits
        self._random_bytes = random_bytes
        self._subscribers = subscribers
        self._records = SubscriptionRecords(store.records)
        self._index = SubscriberIndex(self._records)
        self._notes = ChangeNotes(self._records)

    async def queue(self, queue: QueueRef, now: Moment) -> None:
        """Make the queue, unless it is there."""
        if await self._store.queues.get(queue) is None:
            await self._store.queues.create(queue, {}, now=now)

    async def make(
        self,
        caller: Caller,
        queue: QueueRef,
        draft: SubscriptionDraft,
        ttl: Duration,
        token: str | None,
    ) -> Subscription:
        """Make a subscription that is not there, or find what others have made meanwhile."""
        options = await self._subscribers.trusted(
            caller, token, draft.subscriber, draft.options or {}, ttl
        )
        await self._notes.note(queue)
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            # Before the look for other subscriptions: whoever else makes this one at this
            # moment has not answered by then, so nothing above ``last`` is owed to it.
            last = (await self._store.announcements.open(queue, now=now)).last
            own = subscription_id(self._random_bytes(SUBSCRIPTION_ID_BYTES))
            claimed = await self._index.claim(queue, draft.subscriber, own, now, new=True)
            if isinstance(claimed, Seen):
                made = await self.again(caller, queue, draft)
                if made is None:
                    continue
                return made
            new = Subscription(
                id=claimed,
                queue=queue,
                subscriber=draft.subscriber,
                ttl=ttl,
                options=options,
                created_at=now,
                restarted_at=now,
                expires_at=after(now, ttl),
                since=last,
            )
            new = restarted(new, ttl, now)
            if await self._write(new, last):
                return new
        raise too_busy()

    async def _write(self, new: Subscription, last: Position) -> bool:
        """Write a new subscription; False when its subscriber has become another's."""
        queue = new.queue
        await self._records.put_cursor(queue, new.id, Cursor(position=last), version=ABSENT)
        version = await self._records.put_subscription(new, version=ABSENT)
        if version is None:
            return False
        is_late = self._clock.now() - new.created_at > MAKING_TAKES
        if is_late or not await self._index.is_claimed(new):
            # Late: its cursor may have been taken for one that somebody left behind.
            await self._index.clear(Seen(new, version))
            return False
        # Whoever closed the log meanwhile, for want of subscriptions, did not know of this one.
        await self._store.announcements.open(queue, now=self._clock.now())
        return True

    async def again(
        self, caller: Caller, queue: QueueRef, draft: SubscriptionDraft
    ) -> Subscription | None:
        """The live subscription of the subscriber, if there is one, with what ``draft`` names."""
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            seen = await self._index.holder(queue, draft.subscriber, now)
            if seen is None:
                return None
            if seen.value.confirmed:
                raise Conflict("There is a confirmed subscription of this subscriber already.")
            changed = seen.value
            if draft.ttl is not None:
                changed = restarted(changed, subscription_ttl(draft.ttl, self._limits, now), now)
            if draft.options is not None:
                options = await self._subscribers.trusted_again(caller, changed, draft.options)
                changed = replace(changed, options=options)
            if changed == seen.value:
                return changed
            if await self._records.put_subscription(changed, version=seen.version):
                return changed
        raise too_busy()
