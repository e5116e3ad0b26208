"""What a caller may do with subscriptions of queues, and of topics: one service for each.

How one comes into being is in ``core/subscription_making.py``.
"""

import asyncio

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.change_notes import ChangeNotes
from nuska.core.confirmations import Confirmations
from nuska.core.connected import ConnectedSubscriptions
from nuska.core.followings import Followings
from nuska.core.namespaces import QUEUES, Namespace
from nuska.core.ranges import page_size
from nuska.core.subscriber_index import ATTEMPTS, SubscriberIndex, too_busy
from nuska.core.subscribers import SubscriberRules, Subscribers
from nuska.core.subscription_making import Making, SubscriptionDraft
from nuska.core.subscription_records import Seen, SubscriptionRecords
from nuska.core.terms import subscription_ttl
from nuska.core.usage import Usage
from nuska.domain.errors import Conflict, InvalidInput, NotFound, Unavailable
from nuska.domain.letters import moved, moved_back, restarted
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.subscriptions import (
    UNSUBSCRIBED,
    Disabled,
    Options,
    Subscription,
    is_subscription_id,
)
from nuska.domain.webhooks import with_kept_secrets
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.storage import RandomBytes

REMOVED_AT_ONCE = 100
"""Subscriptions that a purge removes side by side."""


class SubscriptionChange(Struct, frozen=True, kw_only=True):
    """What a patch names."""

    subscriber: str | UnsetType = UNSET
    ttl: int | UnsetType = UNSET
    options: Options | UnsetType = UNSET


class SubscriptionService:
    def __init__(
        self,
        store: SubscribableStore | None,
        clock: Clock,
        limits: Limits,
        random_bytes: RandomBytes,
        *,
        followings: Followings,
        confirmations: Confirmations,
        rules: SubscriberRules,
        connected: ConnectedSubscriptions,
        usage: Usage,
        namespace: Namespace = QUEUES,
    ) -> None:
        """``connected``: those of connections, which are shown and ended like others."""
        self._opened = store
        self._clock = clock
        self._limits = limits
        self._followings = followings
        self._confirmations = confirmations
        self._subscribers = Subscribers(rules, clock)
        self._connected = connected
        self._usage = usage
        self._noun = namespace.noun
        self._place = namespace.place
        self._maker: Making | None = None
        if store is not None:
            self._records = SubscriptionRecords(store.records)
            self._index = SubscriberIndex(self._records)
            self._notes = ChangeNotes(self._records)
            self._maker = Making(store, clock, limits, random_bytes, self._subscribers)

    async def create(
        self,
        caller: Caller,
        name: str,
        draft: SubscriptionDraft,
        *,
        again: bool = True,
        token: str | None = None,
    ) -> Subscription:
        """Make a subscription; a missing queue is created. ``token``: what the caller has shown,
        by which a trust is made where one is needed.

        When a live one has the subscriber already and is not confirmed, that one is returned,
        with the ttl and options that ``draft`` names (C17); ``Conflict`` when it is confirmed,
        and unless ``again`` in any case.
        """
        queue = self._place(caller.project, name)
        allow(caller, "subscription:create", queue)
        making = self._making
        self._subscribers.check_target(caller, draft.subscriber)
        self._subscribers.check(queue, draft.subscriber, draft.options)
        ttl, now = self._ttl(draft.ttl), self._clock.now()
        if not again and await self._index.holder(queue, draft.subscriber, now) is not None:
            raise Conflict("There is a subscription of this subscriber already.")
        made = await making.again(caller, queue, draft)
        if made is None:
            async with self._usage.for_subscription(queue), self._usage.for_queue(queue):
                await making.queue(queue, now)
                made = await making.make(caller, queue, draft, ttl, token)
        else:
            async with self._usage.for_queue(queue):
                await making.queue(queue, now)
        await self._confirmations.ask(made)
        await self._announce(queue)
        return made

    async def page(
        self, caller: Caller, name: str, *, after: str | None = None, limit: int | None = None
    ) -> list[Subscription]:
        """The live subscriptions of a queue by id, after the id ``after``."""
        queue, now = self._place(caller.project, name), self._clock.now()
        allow(caller, "subscription:get_all", queue)
        size = page_size(limit, self._limits.max_subscriptions_per_page)
        live: list[Subscription] = []
        last = after or ""
        while len(live) < size and self._opened is not None:
            page = await self._records.subscriptions(queue, after=last, limit=size)
            live += [seen.value for seen in page if seen.value.expires_at > now]
            if len(page) < size:
                break
            last = page[-1].value.id
        live += [found for found in self._connected.of(queue) if found.id > (after or "")]
        return sorted(live, key=lambda found: found.id)[:size]

    async def get(self, caller: Caller, name: str, id_: str) -> Subscription:
        queue = self._place(caller.project, name)
        allow(caller, "subscription:get", queue)
        return self._connected.get(queue, id_) or (await self._known(queue, id_)).value

    async def update(
        self,
        caller: Caller,
        name: str,
        id_: str,
        change: SubscriptionChange,
        *,
        token: str | None = None,
    ) -> Subscription:
        """Change what ``change`` names; a disabled subscription is tried again, unless the
        subscriber has left: that he takes back himself.

        Another subscriber has to confirm for himself. ``Conflict`` when he has a subscription.
        """
        queue = self._place(caller.project, name)
        allow(caller, "subscription:update", queue)
        seen = await self._known(queue, id_)
        if change == SubscriptionChange():
            raise InvalidInput("The body must name one of subscriber, ttl and options.")
        subscriber = seen.value.subscriber if change.subscriber is UNSET else change.subscriber
        options = (
            None
            if change.options is UNSET
            else with_kept_secrets(change.options, seen.value.options)
        )
        ttl = None if change.ttl is UNSET else self._ttl(change.ttl)
        if change.subscriber is not UNSET:
            self._subscribers.check_target(caller, subscriber)
        if change.subscriber is not UNSET or options is not None:
            self._subscribers.check(queue, subscriber, options)
            options = await self._subscribers.trusted(
                caller,
                token,
                subscriber,
                seen.value.options if options is None else options,
                seen.value.ttl if ttl is None else ttl,
            )
        for _ in range(ATTEMPTS):
            before = seen.value
            changed = before if before.has_left else replace(before, disabled=None)
            if subscriber != before.subscriber:
                changed = moved(replace(changed, disabled=None), subscriber)
            if options is not None:
                changed = replace(changed, options=options)
            if ttl is not None:
                changed = restarted(changed, ttl, self._clock.now())
            if await self._put(seen, changed):
                if subscriber != before.subscriber:
                    await self._confirmations.ask(changed)
                await self._announce(queue)
                return changed
            seen = await self._known(queue, id_)
        raise too_busy()

    async def _put(self, seen: Seen[Subscription], changed: Subscription) -> bool:
        """Store a changed subscription; False when somebody else has changed it."""
        before, queue = seen.value, seen.value.queue
        moves = changed.subscriber != before.subscriber
        if moves:
            claimed = await self._index.claim(
                queue, changed.subscriber, before.id, self._clock.now(), new=False
            )
            if isinstance(claimed, Seen):
                raise Conflict("There is a subscription of this subscriber already.")
        version = await self._records.put_subscription(changed, version=seen.version)
        if not moves:
            return version is not None
        if version is None:
            await self._index.let_go(queue, changed.subscriber, before.id)
            return False
        if not await self._index.is_claimed(changed):
            await self._records.put_subscription(moved_back(before, changed), version=version)
            raise Conflict("There is a subscription of this subscriber already.")
        await self._index.let_go(queue, before.subscriber, before.id)
        return True

    async def delete(self, caller: Caller, name: str, id_: str) -> None:
        """Remove a subscription; one that is not there is no error."""
        queue = self._place(caller.project, name)
        allow(caller, "subscription:delete", queue)
        if self._connected.end(queue, id_):
            return
        seen = await self._find(queue, id_)
        if seen is not None:
            await self._index.remove(seen)
            self._usage.free(queue)
            await self._announce(queue)

    async def purge(self, caller: Caller, name: str) -> None:
        """Remove every subscription of the queue."""
        queue = self._place(caller.project, name)
        allow(caller, f"{self._noun}:purge", queue)
        await self._connected.purge(queue)
        removed = False
        while self._opened is not None:
            page = await self._records.subscriptions(queue, limit=REMOVED_AT_ONCE)
            if not page:
                break
            await asyncio.gather(*(self._index.remove(seen) for seen in page))
            removed = True
        if removed:
            self._usage.free(queue)
            await self._announce(queue)

    async def confirm(
        self, caller: Caller, name: str, id_: str, *, confirmed: bool, letter: Moment | None = None
    ) -> None:
        """Say for the subscriber that he wants to be told, or that he does not any more.

        ``letter``: the end of the letter by which he says it himself. Without one, where he must
        confirm, only the no of a member of his project counts: ``NotAllowed``.
        """
        queue = self._place(caller.project, name)
        allow(caller, "subscription:confirm", queue)
        for _ in range(ATTEMPTS):
            seen = await self._known(queue, id_)
            self._confirmations.check_answer(seen.value, confirmed=confirmed, letter=letter)
            changed = _answered(seen.value, confirmed, self._clock.now())
            if changed == seen.value:
                return
            if not confirmed:
                changed = self._confirmations.parting(changed)
            if await self._records.put_subscription(changed, version=seen.version):
                if not confirmed:
                    await self._confirmations.say_goodbye(changed)
                await self._announce(queue)
                return
        raise too_busy()

    @property
    def _making(self) -> Making:
        if self._maker is None:
            raise Unavailable("This store cannot keep subscriptions.")
        return self._maker

    async def _announce(self, queue: QueueRef) -> None:
        await self._notes.note(queue)
        self._followings.changed(queue)

    async def _find(self, queue: QueueRef, id_: str) -> Seen[Subscription] | None:
        if self._opened is None or not is_subscription_id(id_):
            return None
        return await self._records.subscription(queue, id_)

    async def _known(self, queue: QueueRef, id_: str) -> Seen[Subscription]:
        seen = await self._find(queue, id_)
        if seen is None or seen.value.expires_at <= self._clock.now():
            raise NotFound("There is no subscription of this id.")
        return seen

    def _ttl(self, asked: int | None) -> Duration:
        return subscription_ttl(asked, self._limits, self._clock.now())


def _answered(subscription: Subscription, confirmed: bool, now: Moment) -> Subscription:
    """As the subscriber's answer leaves it. Only his own no is undone by his yes."""
    disabled = subscription.disabled
    if not confirmed and not subscription.has_left:
        disabled = Disabled(UNSUBSCRIBED, now)
    elif confirmed and subscription.has_left:
        disabled = None
    return replace(subscription, confirmed=confirmed, disabled=disabled)
