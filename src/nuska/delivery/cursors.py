"""How far each subscription of a queue is, as it is written down.

One shared cursor says it for all that keep up, so that a thousand healthy subscribers cost one
record. One that does not keep up gets a cursor of its own before the shared one passes it, and
loses it again when it has caught up. Whoever falls between two writings only holds the shared
cursor back.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from nuska.core.subscription_records import SHARED, Cursor, Seen, SubscriptionRecords
from nuska.delivery.recipients import Recipient
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment, seconds
from nuska.domain.positions import BEFORE_ALL, Position
from nuska.interfaces.records import ABSENT

LEFT_FOR = seconds(600)
"""Whoever makes a subscription writes its cursor first; after this he is not going to."""
WRITES_PER_FLUSH = 100
"""Cursors of single subscriptions."""


class Lost(Exception):
    """Somebody else has written a cursor: this process no longer knows where things stand."""


class Plan(Struct):
    """What is to be written, worked out at one moment."""

    own: list[tuple[Recipient, Cursor]]
    shared: Position | None
    drop: list[Recipient]


class Cursors:
    """Of one queue."""

    def __init__(self, queue: QueueRef, records: SubscriptionRecords) -> None:
        self._queue = queue
        self._records = records
        self._version = ABSENT
        self.shared: Position | None = None
        """As it is written; None when it never was."""
        self._left: dict[str, tuple[str, Moment]] = {}
        """Cursors without a subscription: their version, and when that was seen first."""

    def know(self, seen: Seen[Cursor] | None) -> None:
        """What the shared cursor was found to be."""
        self._version = ABSENT if seen is None else seen.version
        self.shared = None if seen is None else seen.value.position

    def left_behind(
        self, cursors: Mapping[str, Seen[Cursor]], there: Collection[str], now: Moment
    ) -> list[tuple[str, str]]:
        """Cursors, with their versions, that have had no subscription for long: what made or
        removed it was broken off."""
        before = self._left
        self._left = {
            id_: before[id_]
            if before.get(id_, ("", now))[0] == seen.version
            else (seen.version, now)
            for id_, seen in cursors.items()
            if id_ != SHARED and id_ not in there
        }
        return [(id_, version) for id_, (version, at) in self._left.items() if now - at >= LEFT_FOR]

    def plan(self, recipients: Iterable[Recipient], head: Position) -> Plan:
        """``recipients`` are all of the queue; ``head``: how far it has been read."""
        plan = Plan([], None, [])
        shared = head
        for recipient in recipients:
            done = recipient.done(head)
            stuck = done < head and recipient.done_before == done
            recipient.done_before = done
            behind = recipient.read is not None
            if recipient.cursor_version is not None:
                if (
                    not (behind or stuck or recipient.failures)
                    and len(plan.drop) < WRITES_PER_FLUSH
                ):
                    plan.drop.append(recipient)
                    shared = min(shared, done)
                elif len(plan.own) < WRITES_PER_FLUSH:
                    cursor = _cursor(recipient, done)
                    if recipient.cursor_written != cursor:
                        plan.own.append((recipient, cursor))
            elif (behind or stuck) and len(plan.own) < WRITES_PER_FLUSH:
                plan.own.append((recipient, _cursor(recipient, done)))
            else:
                shared = min(shared, done)
        if self.shared is None or shared > self.shared:
            plan.shared = shared
        elif any(recipient.done(head) < self.shared for recipient in plan.drop):
            plan.drop = [r for r in plan.drop if r.done(head) >= self.shared]
        return plan

    def is_settled(self, recipients: Iterable[Recipient], head: Position) -> bool:
        """Whether another plan would say nothing else until something happens."""
        return all(
            r.done(head) >= head
            or (r.cursor_written is not None and r.cursor_written.position == r.done(head))
            for r in recipients
        )

    async def write(self, plan: Plan) -> None:
        """Write the plan, in the order that loses nothing. Raises ``Lost``."""
        await asyncio.gather(*(self._write_own(*pair) for pair in plan.own))
        if plan.shared is not None:
            await self._write_shared(plan.shared)
        await asyncio.gather(*(self._drop(recipient) for recipient in plan.drop))

    @property
    def trimmable(self) -> Position | None:
        """Nothing up to here is needed by those without a cursor of their own."""
        return self.shared

    async def _write_own(self, recipient: Recipient, cursor: Cursor) -> None:
        records, queue, id_ = self._records, self._queue, recipient.id
        version = recipient.cursor_version or ABSENT
        written = await records.put_cursor(queue, id_, cursor, version=version)
        if written is None:
            seen = await records.cursor(queue, id_)
            if recipient.gone:
                return
            if seen is not None and seen.value == cursor:
                written = seen.version  # it was written after all, and the answer was lost
            elif seen is None and await records.subscription(queue, id_) is None:
                return  # nobody is left to be told
            elif seen is None:  # the shared one must not pass it all the same
                written = await records.put_cursor(queue, id_, cursor, version=ABSENT)
            if written is None:
                raise Lost
        recipient.cursor_version = written
        recipient.cursor_written = cursor

    async def _write_shared(self, position: Position) -> None:
        cursor = Cursor(position=position)
        written = await self._records.put_cursor(self._queue, SHARED, cursor, version=self._version)
        if written is None:
            seen = await self._records.cursor(self._queue, SHARED)
            if seen is None or seen.value != cursor:
                raise Lost
            written = seen.version
        self._version, self.shared = written, position

    async def _drop(self, recipient: Recipient) -> None:
        version = recipient.cursor_version
        if version is None:
            return
        if not await self._records.remove_cursor(self._queue, recipient.id, version=version):
            seen = await self._records.cursor(self._queue, recipient.id)
            if seen is not None and not recipient.gone:
                raise Lost
        recipient.cursor_version = recipient.cursor_written = None


def _cursor(recipient: Recipient, done: Position) -> Cursor:
    again = done < recipient.round_until
    return Cursor(
        position=done,
        round=recipient.round if again else 0,
        round_until=recipient.round_until if again else BEFORE_ALL,
        failures=recipient.failures,
        next_at=recipient.next_at if recipient.failures else Moment(0),
    )
