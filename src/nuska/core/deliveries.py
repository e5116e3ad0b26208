"""What has been tried to tell subscribers, and what is to be tried: as it is kept, and what a
caller may ask of it.

Attempts stand in an internal queue of their own, many in one message: telling a subscriber must
not cost a message for every attempt. They are kept for a bounded time, and read by time, because
positions begin with it. What is to be sent later stands in another queue, as rows. Who wants
something sent again, or tried, writes a row or moves a cursor; nothing is sent from here.
"""

from collections.abc import AsyncIterator, Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.dead_letters import Letter
from nuska.core.followings import Followings
from nuska.core.namespaces import Namespace
from nuska.core.ranges import check_range, page_size
from nuska.core.subscription_records import SHARED, Cursor, Seen, SubscriptionRecords, Trouble
from nuska.domain.errors import Conflict, NotFound, Unavailable
from nuska.domain.internal import internal
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.positions import SALT_BYTES, MessageId, Position, floor_at, message_id
from nuska.domain.subscriptions import (
    Disabled,
    Subscription,
    SubscriptionId,
    Waiting,
    is_subscription_id,
)
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.records import ABSENT
from nuska.interfaces.storage import MessageStore, RandomBytes

CHUNK = 500
"""Attempts in one message, at most."""
CHUNKS_PER_PAGE = 50
CHUNKS_PER_LOOK = 2_500
"""What one request reads through: more than are kept, so that no page is empty but the last."""
DEFAULT_SINCE = 3_600
LONGEST_SINCE = 1_209_600
"""Seconds to look back."""
MOST_ATTEMPTS = 1_000
"""In one page, about: what one message holds is never parted."""
MOST_TALLIED = 100_000
"""Attempts that one request counts."""
TRIAL_BODY = b'{"trial": true}'
TRIAL_TTL = seconds(300)
TRIES = 20
ROW_OUTLIVES = seconds(3_600)
NO_MESSAGE = MessageId("")
"""Of what was no message."""


class Attempt(Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """One attempt to tell one subscriber of one message. Fields are only ever added."""

    subscription: SubscriptionId
    message: MessageId
    at: Moment
    """When it had ended."""
    number: int
    """Counts from 1."""
    ok: bool
    latency: Duration
    status: int | None = None
    error: str | None = None
    next_at: Moment | None = None
    """When it is tried again; None when it is not."""
    letter: str | None = None
    """Of which type, when it was no message but a letter about the subscription itself."""


class Row(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that is to be sent, or sent again, later on."""

    subscriptions: list[SubscriptionId]
    failures: int = 0
    """How often it was tried; 0 for a message that was not due."""
    letter: Letter
    error: str = ""
    """Of the last attempt."""
    trial: bool = False
    """Sent once, whatever the state of the endpoint, and not kept when that fails."""
    round: int = 0
    """Which telling again of the past this is of; 0 for the first telling."""


class Tally(Struct):
    """What came of some attempts, letters apart."""

    attempts: int = 0
    succeeded: int = 0
    last_success: Moment | None = None
    last_failure: Moment | None = None
    complete: bool = True
    """There were no more."""

    def count(self, attempt: Attempt) -> None:
        self.attempts += 1
        if attempt.ok:
            self.succeeded += 1
            self.last_success = attempt.at
        else:
            self.last_failure = attempt.at

    @property
    def rate(self) -> float | None:
        return self.succeeded / self.attempts if self.attempts else None


class Attempts(Struct, frozen=True):
    """Some attempts, oldest first."""

    attempts: list[Attempt]
    marker: Position
    """Go on after this."""
    complete: bool
    """There are no more at the moment."""
    trouble: Trouble | None = None
    """Why nothing new is tried at the moment."""
    waiting: Waiting | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """How it goes with telling one subscriber."""

    since: Moment
    tally: Tally
    trouble: Trouble | None
    waiting: Waiting | None
    disabled: Disabled | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[Attempt]).decode

_encode_row = msgspec.json.Encoder().encode
_decode_row = msgspec.json.Decoder(Row).decode


def encode_row(row: Row) -> bytes:
    return _encode_row(row)


def decode_row(body: bytes) -> Row:
    return _decode_row(body)


def row_life(row: Row, delay: Duration, now: Moment) -> Duration:
    """How long a row is kept that is due after ``delay``: longer than its message lives, so that
    whoever is told finds out that it was too late."""
    left = max(row.letter.expires_at - now, 0)
    return Duration(max(left, delay) + ROW_OUTLIVES)


def encode_attempts(attempts: list[Attempt]) -> bytes:
    return _encode(attempts)


async def attempts_since(
    store: MessageStore,
    queue: QueueRef,
    subscription_id: str,
    *,
    since: Moment,
    after: Position | None = None,
    limit: int,
    now: Moment,
) -> Attempts:
    """Attempts for a subscription from ``since`` on, about ``limit`` of them; ``after``: the
    marker of the page before."""
    marker = Position(floor_at(since) - 1) if after is None else after
    found: list[Attempt] = []
    async for position, chunk in _chunks(store, queue, marker, now):
        marker = position
        found += _of_one(chunk, subscription_id, since)
        if len(found) >= limit:
            return Attempts(found, marker, complete=False)
    return Attempts(found, marker, complete=True)


async def _chunks(
    store: MessageStore, queue: QueueRef, start: Position, now: Moment
) -> AsyncIterator[tuple[Position, list[Attempt]]]:
    """What is kept of attempts after ``start``, with where each part stands."""
    for _ in range(CHUNKS_PER_LOOK // CHUNKS_PER_PAGE):
        page = await store.page(
            internal("attempts", queue), after=start, limit=CHUNKS_PER_PAGE, now=now
        )
        for message in page.messages:
            start = message.position
            yield start, _decode(message.body)
        if len(page.messages) < CHUNKS_PER_PAGE:
            return


def _of_one(chunk: list[Attempt], subscription_id: str, since: Moment) -> list[Attempt]:
    return [
        attempt
        for attempt in chunk
        if attempt.subscription == subscription_id and attempt.at >= since
    ]


async def tally_since(
    store: MessageStore, queue: QueueRef, subscription_id: str, *, since: Moment, now: Moment
) -> Tally:
    """What came of attempts to tell a subscriber of messages from ``since`` on."""
    tally = Tally()
    start = Position(floor_at(since) - 1)
    async for _, chunk in _chunks(store, queue, start, now):
        if tally.attempts >= MOST_TALLIED:
            tally.complete = False
            break
        for attempt in _of_one(chunk, subscription_id, since):
            if attempt.letter is None:
                tally.count(attempt)
    return tally


class DeliveryService:
    """For subscriptions of queues, or of topics."""

    def __init__(
        self,
        store: SubscribableStore | None,
        clock: Clock,
        random_bytes: RandomBytes,
        followings: Followings,
        waiting: Callable[[Subscription], Waiting | None],
        namespace: Namespace,
    ) -> None:
        self._opened = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._followings = followings
        self._waiting = waiting
        self._place = namespace.place

    async def attempts(
        self,
        caller: Caller,
        name: str,
        id_: str,
        *,
        since: int | None = None,
        after: Position | None = None,
        limit: int | None = None,
    ) -> Attempts:
        """What was tried in the last ``since`` seconds, oldest first."""
        queue = self._place(caller.project, name)
        allow(caller, "subscription:get", queue)
        store = self._store
        seen = await self._known(queue, id_)
        trouble = await SubscriptionRecords(store.records).trouble(queue, id_)
        found = await attempts_since(
            store.messages,
            queue,
            id_,
            since=self._back(DEFAULT_SINCE if since is None else since),
            after=after,
            limit=page_size(limit, MOST_ATTEMPTS),
            now=self._clock.now(),
        )
        return replace(
            found,
            trouble=None if trouble is None else trouble.value,
            waiting=self._waiting(seen.value),
        )

    async def standing(
        self, caller: Caller, name: str, id_: str, *, since: int | None = None
    ) -> Standing:
        """How it went in the last ``since`` seconds, and how it stands now."""
        queue = self._place(caller.project, name)
        allow(caller, "subscription:get", queue)
        store = self._store
        seen = await self._known(queue, id_)
        trouble = await SubscriptionRecords(store.records).trouble(queue, id_)
        start = self._back(DEFAULT_SINCE if since is None else since)
        now = self._clock.now()
        return Standing(
            since=start,
            tally=await tally_since(store.messages, queue, id_, since=start, now=now),
            trouble=None if trouble is None else trouble.value,
            waiting=self._waiting(seen.value),
            disabled=seen.value.disabled,
        )

    async def try_out(self, caller: Caller, name: str, id_: str) -> MessageId:
        """Have a message of the service's own sent once; its id, as attempts will show it."""
        queue = self._place(caller.project, name)
        allow(caller, "subscription:update", queue)
        seen = await self._known(queue, id_)
        if self._waiting(seen.value) is not None:
            raise Conflict("The subscriber has not confirmed, and is sent nothing before.")
        now = self._clock.now()
        position = floor_at(now)
        letter = Letter(
            id=message_id(position, self._random_bytes(SALT_BYTES)),
            position=position,
            body=msgspec.Raw(TRIAL_BODY),
            ttl=TRIAL_TTL,
            created_at=now,
            expires_at=after(now, TRIAL_TTL),
            available_at=now,
        )
        row = Row(subscriptions=[seen.value.id], letter=letter, trial=True)
        await self._store.messages.add(
            internal("retries", queue), [NewMessage(body=encode_row(row), ttl=TRIAL_TTL)], now=now
        )
        await self._tell(queue)
        return letter.id

    async def replay(self, caller: Caller, name: str, id_: str, *, since: int) -> None:
        """Tell the subscriber again of what was posted in the last ``since`` seconds, as far as
        it is kept."""
        queue = self._place(caller.project, name)
        allow(caller, "subscription:update", queue)
        seen = await self._known(queue, id_)
        start = Position(floor_at(self._back(since)) - 1)
        records = SubscriptionRecords(self._store.records)
        log = await self._store.announcements.state(queue, now=self._clock.now())
        for _ in range(TRIES):
            own = await records.cursor(queue, seen.value.id)
            stands = own or await records.cursor(queue, SHARED)
            told = seen.value.since if stands is None else stands.value.position
            before = Cursor(position=told) if own is None else own.value
            again = Cursor(
                position=Position(min(start, told)),
                round=max(before.round + 1, self._clock.now()),
                # Also what has been told and is not written down yet.
                round_until=told if log is None else max(told, log.last),
            )
            if await records.put_cursor(
                queue,
                seen.value.id,
                again,
                version=ABSENT if own is None else own.version,
            ):
                await self._tell(queue)
                return
        raise Unavailable("The subscription is too busy to be started anew. Try again.")

    @property
    def _store(self) -> SubscribableStore:
        if self._opened is None:
            raise Unavailable("This store cannot keep subscriptions yet.")
        return self._opened

    def _back(self, since: int) -> Moment:
        check_range("since", since, 0, LONGEST_SINCE)
        return Moment(self._clock.now() - seconds(since))

    async def _known(self, queue: QueueRef, id_: str) -> Seen[Subscription]:
        if is_subscription_id(id_):
            seen = await SubscriptionRecords(self._store.records).subscription(queue, id_)
            if seen is not None and seen.value.expires_at > self._clock.now():
                return seen
        raise NotFound("There is no subscription of this id.")

    async def _tell(self, queue: QueueRef) -> None:
        await SubscriptionRecords(self._store.records).note_change(queue)
        self._followings.changed(queue)
