"""Which subscription has a subscriber: at most one of a queue, whoever asks at the same moment.

Records have no transaction across two of them, so an entry is only a claim, and every step looks
again at what the others have done: who writes a subscription looks afterwards whether the entry is
still his, and who takes an entry looks afterwards whether its holder has come into being.
"""

from nuska.core.subscription_records import Seen, Subscriber, SubscriptionRecords
from nuska.domain.errors import Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.domain.subscriptions import Subscription, SubscriptionId
from nuska.interfaces.records import ABSENT

ATTEMPTS = 50
"""How often something is tried again when others change the same thing meanwhile."""


def too_busy() -> Unavailable:
    return Unavailable("The queue's subscriptions keep changing under this request.")


class SubscriberIndex:
    def __init__(self, records: SubscriptionRecords) -> None:
        self._records = records

    async def holder(
        self, queue: QueueRef, subscriber: str, now: Moment
    ) -> Seen[Subscription] | None:
        """The live subscription of the queue that has this subscriber."""
        entry = await self._records.subscriber(queue, subscriber)
        if entry is None or entry.value.leaving:
            return None
        return await self._live(queue, subscriber, entry.value.id, now)

    async def claim(
        self, queue: QueueRef, subscriber: str, own: SubscriptionId, now: Moment, *, new: bool
    ) -> Seen[Subscription] | SubscriptionId:
        """The live subscription that has the subscriber; or, when there is none, the id of the
        one that may have it from now on: ``own``, or, for a ``new`` one, the id under which
        another request is making it just now."""
        for _ in range(ATTEMPTS):
            entry = await self._records.subscriber(queue, subscriber)
            if entry is None:
                mine = Subscriber(own)
                if await self._records.put_subscriber(queue, subscriber, mine, version=ABSENT):
                    return own
                continue
            before = entry.value.id
            found = await self._records.subscription(queue, before)
            if found is None and new and not entry.value.leaving:
                taken = before
            elif found is not None and _is_held(found, subscriber, now, entry.value):
                return found
            else:
                taken = own
                if found is not None and found.value.subscriber == subscriber and before != own:
                    await self.clear(found)
            version = await self._records.put_subscriber(
                queue, subscriber, Subscriber(taken), version=entry.version
            )
            if version is None:
                continue
            found = await self._live(queue, subscriber, before, now)
            if found is None:
                return taken
            # It came into being between the look and the claim: the entry is its own again.
            await self._records.put_subscriber(
                queue, subscriber, Subscriber(before), version=version
            )
            return found
        raise too_busy()

    async def is_claimed(self, subscription: Subscription) -> bool:
        """Whether the entry of its subscriber names this subscription."""
        entry = await self._records.subscriber(subscription.queue, subscription.subscriber)
        return entry is not None and entry.value == Subscriber(subscription.id)

    async def let_go(self, queue: QueueRef, subscriber: str, holder: SubscriptionId) -> None:
        """Remove the entry if it names this subscription."""
        entry = await self._records.subscriber(queue, subscriber)
        if entry is not None and entry.value.id == holder:
            await self._records.remove_subscriber(queue, subscriber, version=entry.version)

    async def remove(self, seen: Seen[Subscription]) -> None:
        """Remove a subscription with everything that belongs to it, whatever it says by now."""
        subscription = seen.value
        queue, subscriber = subscription.queue, subscription.subscriber
        entry = await self._records.subscriber(queue, subscriber)
        version = None
        if entry is not None and entry.value.id == subscription.id:
            leaving = Subscriber(subscription.id, leaving=True)
            version = await self._records.put_subscriber(
                queue, subscriber, leaving, version=entry.version
            )
        await self.clear(seen)
        if version is not None:
            await self._records.remove_subscriber(queue, subscriber, version=version)

    async def expire(self, seen: Seen[Subscription]) -> None:
        """Remove a subscription that is over, unless somebody has renewed it since."""
        if await self._records.remove_subscription(seen):
            await self.remove(seen)

    async def clear(self, seen: Seen[Subscription]) -> None:
        """Remove all of a subscription but the entry of its subscriber."""
        queue, id_ = seen.value.queue, seen.value.id
        found: Seen[Subscription] | None = seen
        for _ in range(ATTEMPTS):
            if found is None or await self._records.remove_subscription(found):
                break
            found = await self._records.subscription(queue, id_)
        else:
            raise too_busy()
        cursor = await self._records.cursor(queue, id_)
        if cursor is not None:
            await self._records.remove_cursor(queue, id_, version=cursor.version)
        await self._records.remove_trouble(queue, id_)
        await self._records.remove_ask(queue, id_)

    async def _live(
        self, queue: QueueRef, subscriber: str, id_: SubscriptionId, now: Moment
    ) -> Seen[Subscription] | None:
        found = await self._records.subscription(queue, id_)
        if found is None or not _is_held(found, subscriber, now, Subscriber(id_)):
            return None
        return found


def _is_held(found: Seen[Subscription], subscriber: str, now: Moment, entry: Subscriber) -> bool:
    subscription = found.value
    return (
        not entry.leaving
        and subscription.subscriber == subscriber
        and subscription.expires_at > now
    )
