"""The delivery engine of one process, with a sender for every kind of subscriber."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from nuska.core import Core
from nuska.core.confirmations import page_link
from nuska.core.subscriber_index import SubscriberIndex
from nuska.core.subscription_records import SubscriptionRecords
from nuska.core.terms import Terms
from nuska.delivery.engine import Engine
from nuska.delivery.senders.connections import Connections
from nuska.delivery.senders.mail import Links, MailSender
from nuska.delivery.senders.mail_settings import transport
from nuska.delivery.senders.queue import QueueSender
from nuska.delivery.senders.trust import TrustSender, TrustTokens
from nuska.delivery.senders.webhook import WebhookSender
from nuska.interfaces.notifications import Sender, SubscribableStore
from nuska.interfaces.storage import RandomBytes, Store
from nuska.settings import Settings
from nuska.subscribing import egress_policy


class CannotSend(Exception):
    """What the settings say about sending cannot be used; the argument is a sentence."""


@asynccontextmanager
async def delivering(
    settings: Settings,
    core: Core,
    store: Store,
    random_bytes: RandomBytes,
    trusts: TrustTokens | None = None,
) -> AsyncIterator[Engine | None]:
    """A running engine; leaving the context stops it in order. None where the store cannot keep
    subscriptions. ``trusts``: without, nobody is told by ``trust+``."""
    if not isinstance(store, SubscribableStore):
        yield None
        return
    async with _senders(settings, core, store, trusts) as senders:
        hearing = core.wakeups.overhear(
            lambda queue, n: engine.overhear(queue, n), everything=False
        )
        engine = Engine(
            store,
            core.clock,
            random_bytes,
            senders,
            bounds=settings.delivery,
            announce=core.announcing.wake,
            may_be_told=core.confirmations.may_be_told,
            remove=SubscriberIndex(SubscriptionRecords(store.records)).expire,
            ask=core.confirmations.carry_out,
            hearing=hearing,
            listened=core.live.logs,
            bodies=core.bodies,
        )
        core.followings.add(engine)
        running = asyncio.create_task(engine.run(), name="deliveries")
        try:
            yield engine
        finally:
            await engine.stop()
            await asyncio.wait([running])
            hearing.stop()


def trusting(settings: Settings) -> ssl.SSLContext:
    """Whom outgoing connections believe. Raises ``CannotSend``."""
    context = ssl.create_default_context()
    if settings.trusted_ca_file:
        try:
            context.load_verify_locations(cafile=settings.trusted_ca_file)
        except (OSError, ssl.SSLError) as error:
            file, reason = settings.trusted_ca_file, error.strerror or "it holds no certificate"
            raise CannotSend(f"trusted_ca_file: {file} cannot be used: {reason}.") from error
    return context


@asynccontextmanager
async def _senders(
    settings: Settings, core: Core, store: SubscribableStore, trusts: TrustTokens | None
) -> AsyncIterator[Mapping[str, Sender]]:
    """What reaches each kind of subscriber, by the scheme of its name."""
    policy = egress_policy(settings)
    connect, total = settings.delivery.connect_timeout, settings.delivery.attempt_timeout
    terms = Terms(store.queues, core.limits)
    tls = trusting(settings)
    links = Links(core.confirmations.link, page_link)
    assert core.mail_quota is not None, "the store keeps records"
    mail = MailSender(
        transport(settings.mail, tls, timeout=total),
        core.mail_quota,
        core.clock,
        links,
        sender=settings.mail.mail_from,
        total=total,
    )
    connections = Connections(policy, connect=connect, total=total, tls=tls)
    webhook = WebhookSender(connections, policy, core.clock)
    trust = TrustSender(webhook, trusts)
    queue = QueueSender(
        store.messages, terms, core.announcing, core.clock, core.bodies, core.usage, total=total
    )
    try:
        yield {
            "http": webhook,
            "https": webhook,
            "trust+http": trust,
            "trust+https": trust,
            "queue": queue,
            "mailto": mail,
        }
    finally:
        await connections.close()
