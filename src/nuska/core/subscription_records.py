"""What is kept about subscriptions and their progress, as records of the store.

The one place that knows the keys and how each record is written. Nothing here decides
anything: whoever changes a record gives the version that he has seen, and is told when it is
another by now.

| collection | key | value |
|---|---|---|
| ``subscriptions`` | project · queue · id | ``Subscription`` |
| ``subscribers`` | project · queue · digest of the subscriber | ``Subscriber`` |
| ``followed`` | shard · project · queue | ``Followed`` |
| ``cursors`` | shard · project · queue · id, or nothing for the shared one | ``Cursor`` |
| ``trouble`` | project · queue · id | ``Trouble`` |
| ``asks`` | project · queue · id | what its subscriber is to be sent (``core/confirmations.py``) |
"""

import zlib
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from nuska.domain.errors import Unavailable
from nuska.domain.internal import SEPARATOR, key_of, keys_below
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.domain.subscriptions import Subscription, SubscriptionId
from nuska.interfaces.notifications import SUBSCRIPTIONS
from nuska.interfaces.records import ABSENT, Record, RecordStore

SUBSCRIBERS = "subscribers"
FOLLOWED = "followed"
CURSORS = "cursors"
TROUBLE = "trouble"
ASKS = "asks"

SHARDS = 16
"""Followed queues are divided into so many parts; a node is in charge of whole ones."""
PAGE = 200
SHARED = ""
"""In place of a subscription's id: the cursor of all that have none of their own."""
TRIES = 20
"""How often a change is made again that others' changes prevented."""

T = TypeVar("T")


class Subscriber(Struct, frozen=True):
    """Which subscription of a queue has a subscriber. Checked on reading: it may be gone."""

    id: SubscriptionId
    leaving: bool = False
    """That subscription is being removed: whoever needs the subscriber finishes it."""


class Followed(Struct, frozen=True, kw_only=True):
    """A queue that has, or had, or is about to have subscriptions."""

    changes: int = 0
    """Goes up with every change of the queue's subscriptions."""
    cleared: Position = BEFORE_ALL
    """What was posted up to here is told to nobody any more: it was purged."""


class Cursor(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Up to where everything is done; and what is being done to the one message after it."""

    position: Position
    round: int = 0
    """Which telling again of the past this is; goes up with each."""
    round_until: Position = BEFORE_ALL
    """Messages up to here are told again; what comes after is told for the first time."""
    failures: int = 0
    """Attempts that failed for the first message after it, where order is to be kept."""
    next_at: Moment = Moment(0)
    """The next of them."""


class Trouble(Struct, frozen=True, kw_only=True):
    """Why a subscriber is not being told."""

    since: Moment
    error: str
    """Of the last attempt; no secrets."""
    failures: int
    """In a row, of its endpoint."""
    next_at: Moment
    """When its endpoint is tried again."""
    pause: Duration = Duration(0)
    """Between that attempt and the one before."""
    endpoint: str | None = None
    """Which one does not answer; empty where it answers, and says no. None: not known."""


class Seen(Struct, Generic[T], frozen=True):
    """A record as it was read."""

    value: T
    version: str


_encode = msgspec.json.Encoder().encode
_subscription = msgspec.json.Decoder(Subscription).decode
_subscriber = msgspec.json.Decoder(Subscriber).decode
_followed = msgspec.json.Decoder(Followed).decode
_cursor = msgspec.json.Decoder(Cursor).decode
_trouble = msgspec.json.Decoder(Trouble).decode


def shard_of(queue: QueueRef) -> str:
    """Which part of all followed queues this one belongs to."""
    return shard_name(zlib.crc32(key_of(queue.project, queue.name).encode()) % SHARDS)


def shard_name(number: int) -> str:
    return f"{number:02x}"


def size_of(subscription: Subscription) -> int:
    """Bytes of the subscription's record."""
    return len(_encode(subscription))


class SubscriptionRecords:
    """Typed access to the records. Every method is one step of the store, or says otherwise."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    # Subscriptions

    async def subscription(
        self, queue: QueueRef, subscription_id: str
    ) -> Seen[Subscription] | None:
        record = await self._records.get(SUBSCRIPTIONS, _key(queue, subscription_id))
        return None if record is None else Seen(_subscription(record.value), record.version)

    async def subscriptions(
        self, queue: QueueRef, *, after: str = "", limit: int = PAGE
    ) -> list[Seen[Subscription]]:
        """Subscriptions of a queue by id, after the id ``after``; expired ones too."""
        start, end = keys_below(queue.project, queue.name)
        page = await self._records.page(SUBSCRIPTIONS, after=start + after, before=end, limit=limit)
        return [Seen(_subscription(record.value), record.version) for record in page]

    async def all_subscriptions(self, queue: QueueRef) -> AsyncIterator[Seen[Subscription]]:
        """Every subscription of a queue, page by page."""
        after = ""
        while page := await self.subscriptions(queue, after=after):
            for seen in page:
                yield seen
            after = page[-1].value.id

    async def of_project(self, project: str) -> AsyncIterator[Subscription]:
        """Every subscription of a project's queues, page by page; expired ones too."""
        after, end = keys_below(project)
        while page := await self._records.page(SUBSCRIPTIONS, after=after, before=end, limit=PAGE):
            for record in page:
                found = _subscription(record.value)
                if found.queue.project == project:
                    yield found
            after = page[-1].key

    async def put_subscription(self, subscription: Subscription, *, version: str) -> str | None:
        """Its new version; None when it has another than ``version`` (``ABSENT``: if there is
        one)."""
        key = _key(subscription.queue, subscription.id)
        return await self._records.put(SUBSCRIPTIONS, key, _encode(subscription), version=version)

    async def remove_subscription(self, seen: Seen[Subscription]) -> bool:
        key = _key(seen.value.queue, seen.value.id)
        return await self._records.remove(SUBSCRIPTIONS, key, version=seen.version)

    # Subscribers

    async def subscriber(self, queue: QueueRef, subscriber: str) -> Seen[Subscriber] | None:
        record = await self._records.get(SUBSCRIBERS, _key(queue, _digest(subscriber)))
        return None if record is None else Seen(_subscriber(record.value), record.version)

    async def put_subscriber(
        self, queue: QueueRef, subscriber: str, holder: Subscriber, *, version: str
    ) -> str | None:
        key = _key(queue, _digest(subscriber))
        value = _encode(holder)
        return await self._records.put(SUBSCRIBERS, key, value, version=version)

    async def remove_subscriber(self, queue: QueueRef, subscriber: str, *, version: str) -> bool:
        key = _key(queue, _digest(subscriber))
        return await self._records.remove(SUBSCRIBERS, key, version=version)

    # Followed queues

    async def followed(self, queue: QueueRef) -> Seen[Followed] | None:
        record = await self._records.get(FOLLOWED, _key_in_shard(queue))
        return None if record is None else Seen(_followed(record.value), record.version)

    async def followed_in(
        self, shard: str, *, after: str = "", limit: int = PAGE
    ) -> list[tuple[QueueRef, Seen[Followed]]]:
        """Queues of a shard by key; ``after``: ``followed_key`` of the last one seen."""
        start, end = keys_below(shard)
        page = await self._records.page(FOLLOWED, after=after or start, before=end, limit=limit)
        return [(_queue_of(r), Seen(_followed(r.value), r.version)) for r in page]

    async def note_change(self, queue: QueueRef, *, cleared: Position | None = None) -> None:
        """Say that the queue's subscriptions have changed, or that what was posted up to
        ``cleared`` is to be told to nobody. Several steps; the queue is followed afterwards."""
        for _ in range(TRIES):
            seen = await self.followed(queue)
            before = Followed() if seen is None else seen.value
            changed = Followed(
                changes=before.changes + 1,
                cleared=Position(max(before.cleared, cleared or BEFORE_ALL)),
            )
            if await self._records.put(
                FOLLOWED,
                _key_in_shard(queue),
                _encode(changed),
                version=ABSENT if seen is None else seen.version,
            ):
                return
        raise Unavailable("The queue's subscriptions keep changing.")

    async def remove_followed(self, queue: QueueRef, *, version: str) -> bool:
        return await self._records.remove(FOLLOWED, _key_in_shard(queue), version=version)

    # Cursors

    async def cursor(self, queue: QueueRef, subscription_id: str) -> Seen[Cursor] | None:
        """``SHARED`` for the one of those that have none of their own."""
        record = await self._records.get(CURSORS, _key_in_shard(queue, subscription_id))
        return None if record is None else Seen(_cursor(record.value), record.version)

    async def cursors(self, queue: QueueRef) -> dict[str, Seen[Cursor]]:
        """Every cursor of a queue by subscription, page by page."""
        start, end = keys_below(shard_of(queue), queue.project, queue.name)
        found: dict[str, Seen[Cursor]] = {}
        # The shared one's key ends with the separator: it is the start itself.
        shared = await self.cursor(queue, SHARED)
        if shared is not None:
            found[SHARED] = shared
        after = start
        while page := await self._records.page(CURSORS, after=after, before=end, limit=PAGE):
            for record in page:
                found[_last_of(record)] = Seen(_cursor(record.value), record.version)
            after = page[-1].key
        return found

    async def put_cursor(
        self, queue: QueueRef, subscription_id: str, cursor: Cursor, *, version: str
    ) -> str | None:
        key = _key_in_shard(queue, subscription_id)
        return await self._records.put(CURSORS, key, _encode(cursor), version=version)

    async def remove_cursor(self, queue: QueueRef, subscription_id: str, *, version: str) -> bool:
        key = _key_in_shard(queue, subscription_id)
        return await self._records.remove(CURSORS, key, version=version)

    # Trouble

    async def trouble(self, queue: QueueRef, subscription_id: str) -> Seen[Trouble] | None:
        record = await self._records.get(TROUBLE, _key(queue, subscription_id))
        return None if record is None else Seen(_trouble(record.value), record.version)

    async def troubles(self, queue: QueueRef) -> dict[str, Trouble]:
        """Subscriptions of the queue that have a record of trouble, page by page."""
        after, end = keys_below(queue.project, queue.name)
        found: dict[str, Trouble] = {}
        while page := await self._records.page(TROUBLE, after=after, before=end, limit=PAGE):
            found |= {_last_of(record): _trouble(record.value) for record in page}
            after = page[-1].key
        return found

    async def put_trouble(
        self, queue: QueueRef, subscription_id: str, trouble: Trouble, *, version: str
    ) -> str | None:
        key = _key(queue, subscription_id)
        return await self._records.put(TROUBLE, key, _encode(trouble), version=version)

    async def remove_trouble(self, queue: QueueRef, subscription_id: str) -> None:
        """Whatever it says. Two steps."""
        seen = await self.trouble(queue, subscription_id)
        if seen is not None:
            key = _key(queue, subscription_id)
            await self._records.remove(TROUBLE, key, version=seen.version)

    # Asks

    async def asked(self, queue: QueueRef) -> set[str]:
        """Subscriptions of the queue whose subscribers are to be sent something, page by page."""
        return await self._ids(ASKS, queue)

    async def remove_ask(self, queue: QueueRef, subscription_id: str) -> None:
        """Whatever it says. Two steps."""
        key = _key(queue, subscription_id)
        record = await self._records.get(ASKS, key)
        if record is not None:
            await self._records.remove(ASKS, key, version=record.version)

    async def _ids(self, collection: str, queue: QueueRef) -> set[str]:
        after, end = keys_below(queue.project, queue.name)
        found: set[str] = set()
        while page := await self._records.page(collection, after=after, before=end, limit=PAGE):
            found.update(map(_last_of, page))
            after = page[-1].key
        return found


def followed_key(queue: QueueRef) -> str:
    return _key_in_shard(queue)


def _key(queue: QueueRef, last: str) -> str:
    return key_of(queue.project, queue.name, last)


def _key_in_shard(queue: QueueRef, *more: str) -> str:
    return key_of(shard_of(queue), queue.project, queue.name, *more)


def _queue_of(record: Record) -> QueueRef:
    """A topic's project has separators in itself, a name never has."""
    rest = record.key.partition(SEPARATOR)[2]
    project, _, name = rest.rpartition(SEPARATOR)
    return QueueRef(project, name)


def _last_of(record: Record) -> str:
    return record.key.rpartition(SEPARATOR)[2]


def _digest(subscriber: str) -> str:
    return sha256(subscriber.encode()).hexdigest()
