"""A Python client of the queue service, usable on its own.

    async with Client("http://127.0.0.1:8888", project="shop") as client:
        orders = client.queue("orders")
        await orders.post({"order": 17})
        async with orders.claim(limit=10) as claim:
            for message in claim:
                ...
                await message.delete()

``nuska.client.blocking`` has the same for programs without an event loop. The client knows
the public API and nothing of the server's code.
"""

from nuska.client.client import DEFAULT_TIMEOUT, DEFAULT_URL, Client, Transport
from nuska.client.dead_letters import DeadLetter, DeadLetters, Redriven
from nuska.client.encryption import DataKeyEntry, Encryption
from nuska.client.errors import (
    BadRequest,
    CannotConnect,
    ClaimLost,
    ClientError,
    Conflict,
    ConnectionBroken,
    DeadlinePassed,
    ErrorAnswer,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Unavailable,
    UnreadableAnswer,
)
from nuska.client.following import Gap, LiveMessage, LiveSubscription
from nuska.client.held import ClaimedMessage, HeldClaim
from nuska.client.keys import Key, Keys, MadeKey
from nuska.client.paging import Listing
from nuska.client.persistence import Timing
from nuska.client.pools import (
    ADMIN,
    Carriage,
    Flavor,
    FlavorEntry,
    Pool,
    PoolEntry,
    Whereabouts,
)
from nuska.client.queues import Queue
from nuska.client.quotas import Quota, Quotas
from nuska.client.records import (
    Claim,
    Landmark,
    Message,
    Metadata,
    NewMessage,
    QueueEntry,
    RawMessage,
    Stats,
)
from nuska.client.retries import RetryPolicy
from nuska.client.signed_urls import KeptUrl, SignedUrl, SignedUrls
from nuska.client.subscriptions import (
    Attempt,
    Disabled,
    Standing,
    Subscription,
    Subscriptions,
    Trouble,
    Waiting,
)
from nuska.client.topics import Topic, TopicStats
from nuska.client.worker import GiveBack, Worker, WorkReport

__all__ = [
    "ADMIN",
    "DEFAULT_TIMEOUT",
    "DEFAULT_URL",
    "Attempt",
    "BadRequest",
    "CannotConnect",
    "Carriage",
    "Claim",
    "ClaimLost",
    "ClaimedMessage",
    "Client",
    "ClientError",
    "Conflict",
    "ConnectionBroken",
    "DataKeyEntry",
    "DeadLetter",
    "DeadLetters",
    "DeadlinePassed",
    "Disabled",
    "Encryption",
    "ErrorAnswer",
    "Flavor",
    "FlavorEntry",
    "Gap",
    "GiveBack",
    "HeldClaim",
    "KeptUrl",
    "Key",
    "Keys",
    "Landmark",
    "Listing",
    "LiveMessage",
    "LiveSubscription",
    "MadeKey",
    "Message",
    "Metadata",
    "NewMessage",
    "NotAllowed",
    "NotAuthenticated",
    "NotFound",
    "Pool",
    "PoolEntry",
    "Queue",
    "QueueEntry",
    "Quota",
    "Quotas",
    "RawMessage",
    "Redriven",
    "RetryPolicy",
    "SignedUrl",
    "SignedUrls",
    "Standing",
    "Stats",
    "Subscription",
    "Subscriptions",
    "Timing",
    "Topic",
    "TopicStats",
    "Transport",
    "Trouble",
    "Unavailable",
    "UnreadableAnswer",
    "Waiting",
    "Whereabouts",
    "WorkReport",
    "Worker",
]
