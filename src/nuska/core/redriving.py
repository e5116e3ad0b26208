"""Dead letters of a queue or topic: what they are, and sending them on their way again.

They stand in two places, and are listed one after the other: messages, and deliveries where the
queue names a dead-letter queue, in that queue; other deliveries in an internal one.

Redriving is: write the letter where it has to go, under a key that makes the second time do
nothing, and only then take it from among the dead. Whoever dies in between loses nothing; what
was redriven and dies again is a dead letter again, and goes nowhere by itself.
"""

from collections.abc import Sequence

from msgspec import Raw, Struct
from msgspec.structs import replace

from nuska.core.access import allow
from nuska.core.bodies import Bodies
from nuska.core.dead_letters import (
    NO_ATTRIBUTES,
    NULL,
    Letter,
    dead_delivery_of,
    decode_buried,
    letter_of,
    without_dead_delivery,
)
from nuska.core.deliveries import Row, encode_row, row_life
from nuska.core.followings import Followings
from nuska.core.namespaces import Namespace
from nuska.core.ranges import check_range
from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.internal import internal, is_internal, owner_of
from nuska.domain.messages import Idempotency, Message, NewMessage, QueueRef
from nuska.domain.metadata import DEAD_LETTER_QUEUE_KEY
from nuska.domain.moments import Duration, Moment, after
from nuska.domain.positions import (
    BEFORE_ALL,
    BEYOND_ALL,
    MessageId,
    Position,
    floor_at,
    parse_marker,
)
from nuska.domain.sealed import is_sealed
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Caller
from nuska.interfaces.notifications import SubscribableStore
from nuska.interfaces.wakeups import Wakeups

MAX_DEAD_LETTERS = 100
"""In one page, or redriven by one call."""
DEFAULT_DEAD_LETTERS = 20
LOOKED_AT = 1_000
"""Messages that one call looks at to find those which were asked for."""
PAGE = 100
GRAVES, DELIVERIES = "g", "d"
"""Begin a marker: in which of the two places it is."""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """Something that got nowhere."""

    id: MessageId
    """Of the letter, by which it is redriven."""
    message: MessageId
    """Of the message when it was posted."""
    reason: str
    count: int
    """Claims that handed it out, or attempts to tell the subscriber."""
    at: Moment
    subscription: SubscriptionId | None = None
    """None for a message that nobody got done."""
    subscriber: str | None = None
    letter: Letter
    place: QueueRef
    """Where it stands."""


class DeadLetters(Struct, frozen=True):
    """A page of them, oldest first in each place."""

    letters: list[DeadLetter]
    marker: str
    complete: bool
    """There are no more."""


class Redriven(Struct, frozen=True):
    """What a redrive did."""

    ids: list[MessageId]
    skipped: int
    """Deliveries whose subscription is no more: they stay where they are."""
    marker: str
    """Go on after this."""
    complete: bool


class RedriveService:
    def __init__(
        self,
        store: SubscribableStore | None,
        followings: Followings,
        wakeups: Wakeups,
        clock: Clock,
        namespace: Namespace,
        bodies: Bodies,
    ) -> None:
        self._kept = store
        self._followings = followings
        self._wakeups = wakeups
        self._clock = clock
        self._namespace = namespace
        self._bodies = bodies

    async def page(
        self,
        caller: Caller,
        name: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        reason: str | None = None,
    ) -> DeadLetters:
        """Dead letters of a queue after the marker ``after``; with ``reason``, those whose reason
        has it in it. A page may be short, and is the last only when it says so."""
        allow(caller, f"{self._namespace.noun}:get", self._place(caller, name))
        limit = DEFAULT_DEAD_LETTERS if limit is None else limit
        check_range("limit", limit, 1, MAX_DEAD_LETTERS)
        queue = self._place(caller, name)
        page = await self._find(queue, after, limit, reason, None)
        return replace(page, letters=[await self._opened(queue, one) for one in page.letters])

    async def _opened(self, queue: QueueRef, dead: DeadLetter) -> DeadLetter:
        """As it was posted; without a body when nobody can open it any more."""
        if not is_sealed(bytes(dead.letter.body)):
            return dead
        opened = await self._bodies.open(queue, [dead.letter.message()])
        body = Raw(opened[0].body if opened else NULL)
        return replace(dead, letter=replace(dead.letter, body=body))

    async def redrive(
        self,
        caller: Caller,
        name: str,
        *,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        after: str | None = None,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> Redriven:
        """Send dead letters on their way again: those of ``ids``, or those whose reason has
        ``reason`` in it, or all; at most ``limit`` by one call, from the marker ``after`` on."""
        allow(caller, f"{self._namespace.noun}:update", self._place(caller, name))
        limit = MAX_DEAD_LETTERS if limit is None else limit
        check_range("limit", limit, 1, MAX_DEAD_LETTERS)
        if ids is not None and not 0 < len(ids) <= MAX_DEAD_LETTERS:
            raise InvalidInput(f"The number of ids must be from 1 to {MAX_DEAD_LETTERS}.")
        queue = self._place(caller, name)
        wanted = None if ids is None else frozenset(ids)
        page = await self._find(queue, after, limit, reason, wanted)
        done: list[MessageId] = []
        skipped = 0
        for letter in page.letters:
            if letter.subscription is not None and not await self._is_there(queue, letter):
                skipped += 1
                continue
            if not dry_run:
                await self._redrive(queue, letter)
            done.append(letter.id)
        if done and not dry_run:
            if any(letter.subscription is not None for letter in page.letters):
                await SubscriptionRecords(self._store.records).note_change(queue)
                self._followings.changed(queue)
            self._wakeups.wake(queue, len(done))
        return Redriven(done, skipped, page.marker, page.complete)

    async def _find(
        self,
        queue: QueueRef,
        marker: str | None,
        limit: int,
        reason: str | None,
        ids: frozenset[str] | None,
    ) -> DeadLetters:
        place, position = _read_marker(marker)
        places = {DELIVERIES: internal("dead", queue)}
        grave = await self._grave(queue)
        if grave is not None:
            places = {GRAVES: grave, **places}
        found: list[DeadLetter] = []
        looked = 0
        for letter, where in places.items():
            if place == DELIVERIES and letter == GRAVES:
                continue
            at = position if letter == place else BEFORE_ALL
            while True:
                page = await self._store.messages.page(
                    where, after=at, limit=PAGE, include_delayed=True, now=self._clock.now()
                )
                for message in page.messages:
                    at = message.position
                    dead = _dead_letter(message, queue, where)
                    if (
                        dead is not None
                        and (reason is None or reason in dead.reason)
                        and (ids is None or dead.id in ids)
                    ):
                        found.append(dead)
                    if len(found) == limit:
                        return DeadLetters(found, f"{letter}{at}", complete=False)
                looked += len(page.messages)
                if len(page.messages) < PAGE:
                    break
                if looked >= LOOKED_AT:
                    return DeadLetters(found, f"{letter}{at}", complete=False)
        return DeadLetters(found, "", complete=True)

    async def _grave(self, queue: QueueRef) -> QueueRef | None:
        """The dead-letter queue that the queue's metadata name."""
        there = await self._store.queues.get(queue)
        name = None if there is None else there.metadata.get(DEAD_LETTER_QUEUE_KEY)
        return QueueRef(owner_of(queue.project), name) if isinstance(name, str) else None

    async def _is_there(self, queue: QueueRef, letter: DeadLetter) -> bool:
        assert letter.subscription is not None, "asked of deliveries only"
        seen = await SubscriptionRecords(self._store.records).subscription(
            queue, letter.subscription
        )
        return seen is not None and seen.value.expires_at > self._clock.now()

    async def _redrive(self, queue: QueueRef, dead: DeadLetter) -> None:
        now = self._clock.now()
        key = Idempotency(f"redrive:{dead.id}", dead.id.encode())
        letter = dead.letter
        if dead.subscription is not None:
            # It had its time; it gets as much again.
            alive = replace(
                letter,
                position=floor_at(now),  # a purge before this moment is no reason to drop it
                expires_at=after(now, letter.ttl),
                available_at=min(letter.available_at, now),  # subscribers are shown its delay
            )
            row = Row(subscriptions=[dead.subscription], failures=0, letter=alive)
            new = NewMessage(body=encode_row(row), ttl=row_life(row, Duration(0), now))
            target = internal("retries", queue)
        else:
            new = NewMessage(
                body=bytes(letter.body), ttl=letter.ttl, attributes=letter.attributes_as_posted
            )
            target = queue
        await self._store.messages.add(target, [new], idempotency=key, now=now)
        await self._store.messages.delete_many(dead.place, [dead.id], now=now)

    def _place(self, caller: Caller, name: str) -> QueueRef:
        return self._namespace.place(caller.project, name)

    @property
    def _store(self) -> SubscribableStore:
        if self._kept is None:
            raise Unavailable("This store cannot keep subscriptions.")
        return self._kept


def _dead_letter(message: Message, queue: QueueRef, place: QueueRef) -> DeadLetter | None:
    """What a message in a place of the dead is, if it came from ``queue``."""
    if is_internal(place.project) and place == internal("dead", queue):
        buried = decode_buried(message.body)
        return DeadLetter(
            id=message.id,
            message=buried.letter.id,
            reason=buried.reason,
            count=buried.attempts,
            at=buried.at,
            subscription=buried.subscription,
            subscriber=buried.subscriber,
            letter=buried.letter,
            place=place,
        )
    letter = letter_of(message)
    delivery = dead_delivery_of(message.attributes)
    if delivery is not None:
        if delivery.origin != queue.name or delivery.is_topic != is_internal(queue.project):
            return None
        assert message.attributes is not None, "the delivery stands in them"
        posted = without_dead_delivery(message.attributes)
        return DeadLetter(
            id=message.id,
            message=delivery.message,
            reason=delivery.reason,
            count=delivery.attempts,
            at=delivery.at,
            subscription=delivery.subscription,
            subscriber=delivery.subscriber,
            letter=replace(
                letter,
                id=delivery.message,
                attributes=NO_ATTRIBUTES if posted is None else Raw(posted),
            ),
            place=place,
        )
    if message.dead is None or message.dead.origin != queue.name or is_internal(queue.project):
        return None
    return DeadLetter(
        id=message.id,
        message=message.id,
        reason=message.dead.reason,
        count=message.dead.claim_count,
        at=message.dead.at,
        letter=letter,
        place=place,
    )


def _read_marker(marker: str | None) -> tuple[str, Position]:
    if not marker:
        return GRAVES, BEFORE_ALL
    position = parse_marker(marker[1:])
    if marker[0] not in (GRAVES, DELIVERIES) or position is None:
        return DELIVERIES, BEYOND_ALL  # nothing comes after it
    return marker[0], position
