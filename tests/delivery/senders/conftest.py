"""Subscriptions and messages to be sent, and a sender with short limits."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from nuska.delivery.senders.connections import Connections
from nuska.delivery.senders.webhook import WebhookSender
from nuska.domain.egress import EgressPolicy
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position
from nuska.domain.subscriptions import Subscription, SubscriptionId
from nuska.interfaces.notifications import Notification
from nuska.stores.memory import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes

NOW = Moment(1_800_000_000_000)
OPEN = EgressPolicy(loopback=True)
CONNECT, TOTAL = 0.5, 1.5
"""Seconds; long enough for a busy machine, short enough to wait for."""

Notify: TypeAlias = Callable[..., Notification]
Webhooks: TypeAlias = Callable[..., AbstractAsyncContextManager[WebhookSender]]


def notification(
    subscriber: str,
    *,
    body: bytes = b'{"job": 17}',
    attributes: bytes | None = None,
    queue: QueueRef | None = None,
    number: int = 1,
    **options: object,
) -> Notification:
    subscription = Subscription(
        id=SubscriptionId("0" * 24),
        queue=queue or QueueRef("p", "jobs"),
        subscriber=subscriber,
        ttl=Duration(3_600_000),
        options=options,
        created_at=NOW,
        restarted_at=NOW,
        expires_at=Moment(NOW + 3_600_000),
        since=Position(0),
    )
    message = Message(
        id=MessageId(f"m{number}"),
        position=Position(number),
        body=body,
        ttl=Duration(900_000),
        created_at=NOW,
        expires_at=Moment(NOW + 900_000),
        available_at=NOW,
        attributes=attributes,
        poster=b"poster",
    )
    return Notification(subscription=subscription, message=message, name="jobs")


def memory_store() -> MemoryStore:
    return MemoryStore(now=NOW, random_bytes=seeded_bytes())


@pytest.fixture
def notify() -> Notify:
    return notification


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def webhooks(clock: ManualClock) -> Webhooks:
    """A webhook sender as a context; by default one that may call this machine."""

    @asynccontextmanager
    async def make(
        policy: EgressPolicy = OPEN, *, connect: float = CONNECT, total: float = TOTAL, **more: Any
    ) -> AsyncIterator[WebhookSender]:
        connections = Connections(policy, connect=connect, total=total, **more)
        sender = WebhookSender(connections, policy, clock)
        try:
            yield sender
        finally:
            await sender.close()

    return make
