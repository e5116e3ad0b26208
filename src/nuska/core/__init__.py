"""What the service does for a caller, whichever way the call came in.

One coroutine per API action: permission, defaults, limits, then one call to the store, then
the wake-up. No status codes, headers, JSON or SQL; no clock but the one passed in.
"""

import os
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from nuska.core.access import Access
from nuska.core.bodies import Bodies
from nuska.core.claims import ClaimService
from nuska.core.clearing import Clearing
from nuska.core.confirmations import ConfirmationRules, Confirmations
from nuska.core.connected import ConnectedSubscriptions
from nuska.core.deliveries import DeliveryService
from nuska.core.encryption import EncryptionService
from nuska.core.followings import Followings
from nuska.core.grants import GrantRecords
from nuska.core.health import HealthService
from nuska.core.holdings import Holdings
from nuska.core.key_records import KeyRecords
from nuska.core.keys import KeyService
from nuska.core.live import Live, LiveBounds
from nuska.core.mail_quota import MailQuota
from nuska.core.messages import MessageService
from nuska.core.namespaces import QUEUES, TOPICS, Namespace
from nuska.core.pools import FlavorService, PoolService
from nuska.core.queues import QueueService
from nuska.core.quota_service import QuotaService
from nuska.core.quotas import QuotaBook
from nuska.core.rate_shares import RateShares
from nuska.core.rates import Rates
from nuska.core.redriving import RedriveService
from nuska.core.sharing import SharingRules, SharingService
from nuska.core.signatures import SignatureDesk
from nuska.core.subscribers import SubscriberRules
from nuska.core.subscription_records import SubscriptionRecords
from nuska.core.subscriptions import SubscriptionService
from nuska.core.terms import Terms
from nuska.core.usage import Usage
from nuska.core.vault import KeyVault, missing_keys
from nuska.core.waiting import Watch
from nuska.core.wakeups import LocalWakeups, SharedWakeups
from nuska.domain.limits import Limits
from nuska.domain.messages import QueueRef
from nuska.domain.moments import seconds
from nuska.domain.quotas import Quota
from nuska.interfaces.clock import Clock
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.pooling import Placement
from nuska.interfaces.storage import RandomBytes, Store
from nuska.interfaces.wakeups import Wakeups

__all__ = ["Core", "build_core"]


class Core(Struct, frozen=True, kw_only=True):
    """The services of one process, and what they share."""

    queues: QueueService
    messages: MessageService
    claims: ClaimService
    subscriptions: SubscriptionService
    topics: QueueService
    topic_messages: MessageService
    topic_subscriptions: SubscriptionService
    deliveries: DeliveryService
    topic_deliveries: DeliveryService
    redriving: RedriveService
    topic_redriving: RedriveService
    followings: Followings
    """Whoever carries notifications out hears here of what changes."""
    confirmations: Confirmations
    connected: ConnectedSubscriptions
    access: Access
    """Makes callers of what an identity, or the desk, has verified."""
    desk: SignatureDesk
    """Checks what pre-signed requests show."""
    sharing: SharingService
    live: Live
    """Whoever runs the process also runs ``live.run``, and calls ``live.stop`` at the end."""
    health: HealthService
    encryption: EncryptionService
    keys: KeyService
    key_records: KeyRecords | None
    """None where the store keeps none."""
    quota_book: QuotaBook
    """Whoever runs the process reads it first, and where nodes share the store runs ``run``."""
    quotas: QuotaService
    usage: Usage
    """What projects store, as far as quotas go by it."""
    rates: Rates
    """Whoever runs the process also runs ``rates.run``."""
    mail_quota: MailQuota | None
    """None where the store keeps no records."""
    bodies: Bodies
    """Opens what is sealed, for who reads past the services."""
    pools: PoolService | None = None
    """None without pooling; so are flavors."""
    flavors: FlavorService | None = None
    clock: Clock
    limits: Limits
    wakeups: LocalWakeups
    """``stop`` ends every long poll at once, with what it has; ``hear`` is for what other
    nodes tell."""
    announcing: Wakeups
    """Upkeep calls ``wake`` for queues in which messages became due; other nodes hear of it."""


def build_core(
    *,
    store: Store,
    clock: Clock,
    limits: Limits | None = None,
    random_bytes: RandomBytes = os.urandom,
    wakeups: LocalWakeups | None = None,
    tell: Callable[[QueueRef, int], None] | None = None,
    max_waiters: int | None = None,
    placement: Placement | None = None,
    subscribers: SubscriberRules | None = None,
    confirmation: ConfirmationRules | None = None,
    sharing: SharingRules | None = None,
    access: Access | None = None,
    live: LiveBounds | None = None,
    vault: KeyVault | None = None,
    quota: Quota | None = None,
    node: str | None = None,
) -> Core:
    """The services over an open store. The caller keeps the store and closes it.

    ``tell`` lets other nodes know what became available. Of more than ``max_waiters`` long
    polls at a time, where waiting is not as cheap as it is here, the last are answered at once.
    Without ``sharing`` what is signed is signed as confirmations are. ``quota``: of every project
    about which nothing else is said. ``node``: a word for this one, where several share the store.
    """
    limits = Limits() if limits is None else limits
    bodies = Bodies(vault)
    wakeups = LocalWakeups() if wakeups is None else wakeups
    announcing: Wakeups = wakeups if tell is None else SharedWakeups(wakeups, tell)
    terms = Terms(store.queues, limits)
    subscribable = store if isinstance(store, SubscribableStore) else None
    confirmation = ConfirmationRules() if confirmation is None else confirmation
    followings = Followings(tell)
    confirmations = Confirmations(
        None if subscribable is None else subscribable.records, clock, confirmation
    )
    if sharing is None:
        sharing = SharingRules(signer=confirmation.signer)
    grants = None if subscribable is None else GrantRecords(subscribable.records, clock)
    key_records = None if subscribable is None else KeyRecords(subscribable.records)
    watch = Watch(store.messages, wakeups, clock, max_waiters)
    clearing = Clearing(subscribable, followings, clock)
    rules = SubscriberRules() if subscribers is None else subscribers
    live = LiveBounds() if live is None else live
    if quota is None:
        quota = Quota(listeners=live.max_listeners_per_project)
    records = None if subscribable is None else subscribable.records
    book = QuotaBook(quota, records)
    shares = None if records is None or node is None else RateShares(records, clock, node)
    rates = Rates(book, clock, shares)
    quotas = QuotaService(book, for_operators=limits.admin_mode)
    mail_quota = None if records is None else MailQuota(records, clock, book)
    subscriptions = None if records is None else SubscriptionRecords(records)
    usage = Usage(
        book,
        Holdings(store, subscriptions, clock),
        store.queues,
        clock,
        records if store.capabilities.shared else None,
    )

    listening = Live(
        subscribable,
        wakeups,
        clock,
        random_bytes,
        live,
        seconds(limits.max_message_delay),
        bodies,
        book,
    )
    connected = ConnectedSubscriptions(
        listening, store.queues, clock, limits, random_bytes, announcing, usage
    )

    def subscriptions_of(namespace: Namespace) -> SubscriptionService:
        return SubscriptionService(
            subscribable,
            clock,
            limits,
            random_bytes,
            followings=followings,
            confirmations=confirmations,
            rules=rules,
            connected=connected,
            usage=usage,
            namespace=namespace,
        )

    def deliveries_of(namespace: Namespace) -> DeliveryService:
        return DeliveryService(
            subscribable, clock, random_bytes, followings, confirmations.waiting, namespace
        )

    def queues_of(namespace: Namespace) -> QueueService:
        return QueueService(
            store.queues, clock, limits, clearing, usage, namespace, can_encrypt=vault is not None
        )

    def messages_of(namespace: Namespace) -> MessageService:
        return MessageService(
            store.messages,
            terms,
            watch,
            announcing,
            clock,
            limits,
            bodies,
            rates,
            usage,
            namespace.place,
        )

    quotas.ask(usage)
    quotas.ask(rates)
    quotas.ask(listening)
    if mail_quota is not None:
        quotas.ask(mail_quota)
    return Core(
        queues=queues_of(QUEUES),
        messages=messages_of(QUEUES),
        claims=ClaimService(
            store.claims,
            store.messages,
            terms,
            watch,
            announcing,
            clock,
            limits,
            random_bytes,
            bodies,
            usage,
        ),
        subscriptions=subscriptions_of(QUEUES),
        deliveries=deliveries_of(QUEUES),
        topics=queues_of(TOPICS),
        topic_messages=messages_of(TOPICS),
        topic_subscriptions=subscriptions_of(TOPICS),
        topic_deliveries=deliveries_of(TOPICS),
        redriving=RedriveService(subscribable, followings, announcing, clock, QUEUES, bodies),
        topic_redriving=RedriveService(subscribable, followings, announcing, clock, TOPICS, bodies),
        followings=followings,
        confirmations=confirmations,
        connected=connected,
        access=Access() if access is None else access,
        desk=SignatureDesk(sharing.signer, clock, grants),
        sharing=SharingService(sharing, clock, limits, random_bytes, grants),
        live=listening,
        health=HealthService(
            store,
            clock,
            random_bytes,
            placement,
            None if subscribable is None else partial(missing_keys, subscribable.records, vault),
        ),
        encryption=EncryptionService(vault),
        keys=KeyService(key_records, clock, random_bytes),
        key_records=key_records,
        quota_book=book,
        quotas=quotas,
        rates=rates,
        usage=usage,
        mail_quota=mail_quota,
        bodies=bodies,
        pools=None if placement is None else PoolService(placement, limits),
        flavors=None if placement is None else FlavorService(placement, limits),
        clock=clock,
        limits=limits,
        wakeups=wakeups,
        announcing=announcing,
    )
