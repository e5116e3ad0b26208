"""What is to be sent later: messages that failed, and messages that were not due.

They are leased messages of an internal queue. A row that this process cannot begin soon it
leaves alone: its lease ends, and it comes again.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from nuska.core.dead_letters import Letter
from nuska.core.deliveries import Row, decode_row
from nuska.delivery.endpoints import Endpoint
from nuska.delivery.journal import DueRow
from nuska.delivery.recipients import Recipient
from nuska.domain.internal import internal
from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Moment, after, seconds
from nuska.domain.positions import CLAIM_ID_BYTES, claim_id
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import RandomBytes, Store

LEASE = seconds(120)
LONGEST_SEND = seconds(60)
"""What is not begun this long before the end of its lease is not begun."""
ROWS_AT_ONCE = 20
ROWS_IN_HAND = 100
"""Of one queue: each has its body in memory."""
IN_HAND_PER_ENDPOINT = 10
ROOM_AWAITED = seconds(1)
IDS_IN_A_ROW = 500
LOOKED_FOR_EVERY = seconds(60)
"""Rows of a node that was held up may turn up at any time."""
REPAIR_AWAITED = seconds(60)
"""How long a row rests whose subscription is disabled."""


class Leased(Struct):
    """A row in hand."""

    id: str
    row: Row
    message: Message
    until: Moment
    """The end of its lease."""
    left: int
    """Subscriptions of the row that have yet to be dealt with."""


class LateDelivery:
    """One message of a row, to one subscription of it."""

    __slots__ = ("_retries", "endpoint", "leased", "queued", "recipient")

    def __init__(self, retries: "Retries", leased: Leased, recipient: Recipient) -> None:
        self._retries = retries
        self.leased = leased
        self.recipient = recipient
        self.endpoint: Endpoint = recipient.endpoint
        self.queued = False

    @property
    def is_retry(self) -> bool:
        return self.leased.row.failures > 0 or self.leased.row.trial

    def has_more(self) -> bool:
        return False

    def begin(self, *, probe: bool) -> Coroutine[Any, Any, None] | None:
        return self._retries.begin(self, probe=probe)


class Carries(Protocol):
    """What carries a queue's late deliveries out."""

    queue: QueueRef
    recipients: dict[SubscriptionId, Recipient]

    def is_open(self) -> bool:
        """Whether deliveries may begin now."""
        ...

    def deliver_late(self, late: LateDelivery, *, probe: bool) -> Coroutine[Any, Any, None]: ...

    def offer_late(self, late: LateDelivery) -> None: ...

    def write_row(self, due: DueRow) -> None: ...

    def finish_row(self, row_id: str) -> None: ...

    def is_cleared(self, letter: Letter) -> bool:
        """Whether the message was purged."""
        ...

    def may_be_told(self, recipient: Recipient) -> bool:
        """Whether the subscriber has confirmed, or need not."""
        ...

    def miss(self, recipients: int) -> None:
        """A message was over before its turn."""
        ...


class Retries:
    """The rows of one queue."""

    def __init__(
        self, carrier: Carries, store: Store, clock: Clock, random_bytes: RandomBytes
    ) -> None:
        self._carrier = carrier
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._rows = internal("retries", carrier.queue)
        self._in_hand: dict[str, Leased] = {}
        self._per_endpoint: dict[Endpoint, int] = {}
        self.due_at = Moment(0)
        """When to look next."""

    @property
    def in_hand(self) -> int:
        return len(self._in_hand)

    def expect(self, due: Moment) -> None:
        """A row is due then."""
        self.due_at = min(self.due_at, due)

    async def take_due(self) -> bool:
        """Take rows that are due and offer them; whether there may be more."""
        now = self._clock.now()
        if now < self.due_at:
            return False
        if len(self._in_hand) >= ROWS_IN_HAND:
            self.due_at = after(now, ROOM_AWAITED)
            return False
        claimed = await self._store.claims.create(
            self._rows,
            claim_id=claim_id(self._random_bytes(CLAIM_ID_BYTES)),
            limit=min(ROWS_AT_ONCE, ROWS_IN_HAND - len(self._in_hand)),
            ttl=LEASE,
            grace=LEASE,
            now=now,
        )
        for message in claimed.messages:
            if message.id not in self._in_hand:
                self._unfold(message.id, decode_row(message.body), now)
        if claimed.messages:
            return True  # another look says when the next one is due
        due = await self._store.messages.next_due(self._rows, now=now)
        latest = after(now, LOOKED_FOR_EVERY)
        self.due_at = latest if due is None else min(due, latest)
        return False

    def forget(self) -> None:
        """Another node is in charge now."""
        self._in_hand.clear()
        self._per_endpoint.clear()

    def _unfold(self, row_id: str, row: Row, now: Moment) -> None:
        carrier = self._carrier
        known = [carrier.recipients[id_] for id_ in row.subscriptions if id_ in carrier.recipients]
        if now >= row.letter.expires_at or carrier.is_cleared(row.letter):
            carrier.miss(len(known))
            known = []
        # Also a trial: nobody is sent what he has not asked for.
        known = [r for r in known if carrier.may_be_told(r)]
        if not known:
            carrier.finish_row(row_id)
            return
        leased = Leased(row_id, row, row.letter.message(), after(now, LEASE), len(known))
        if len(known) == 1:
            endpoint = known[0].endpoint
            if self._per_endpoint.get(endpoint, 0) >= IN_HAND_PER_ENDPOINT:
                return  # its lease ends, and it comes again
        self._in_hand[row_id] = leased
        for recipient in known:
            endpoint = recipient.endpoint
            self._per_endpoint[endpoint] = self._per_endpoint.get(endpoint, 0) + 1
            late = LateDelivery(self, leased, recipient)
            if recipient.subscription.disabled is not None and not row.trial:
                self.postpone(late, after(now, REPAIR_AWAITED))
            elif not late.is_retry and not endpoint.breaker.may_begin(now):
                self.postpone(late, endpoint.breaker.next_at)
            else:
                carrier.offer_late(late)

    def begin(self, late: LateDelivery, *, probe: bool) -> Coroutine[Any, Any, None] | None:
        leased = late.leased
        if self._in_hand.get(leased.id) is not leased or not self._carrier.is_open():
            self._let_go(late)
            return None
        if late.recipient.gone:
            self.dealt_with(late)
            return None
        if self._clock.now() >= leased.until - LONGEST_SEND:
            if len(leased.row.subscriptions) == 1:
                self._let_go(late)
            else:
                self.postpone(late, self._clock.now())
            return None
        return self._carrier.deliver_late(late, probe=probe)

    def postpone(self, late: LateDelivery, due: Moment) -> None:
        """Have the subscription a row of its own instead, later."""
        row = late.leased.row
        self.again(late, row.failures, row.error, due)

    def again(self, late: LateDelivery, failures: int, error: str, due: Moment) -> None:
        """A row in place of this one's part."""
        id_ = late.recipient.id
        row = replace(late.leased.row, subscriptions=[id_], failures=failures, error=error)
        self._carrier.write_row(DueRow(f"{id_}:{late.leased.id}:{failures}", row, due))
        self.dealt_with(late)

    def dealt_with(self, late: LateDelivery) -> None:
        """The subscription needs nothing more of this row."""
        self._release(late)
        leased = late.leased
        leased.left -= 1
        if leased.left == 0 and self._in_hand.pop(leased.id, None) is not None:
            self._carrier.finish_row(leased.id)

    def _let_go(self, late: LateDelivery) -> None:
        """Leave the row to the end of its lease."""
        self._release(late)
        self._in_hand.pop(late.leased.id, None)

    def _release(self, late: LateDelivery) -> None:
        left = self._per_endpoint.get(late.endpoint, 0) - 1
        if left > 0:
            self._per_endpoint[late.endpoint] = left
        else:
            self._per_endpoint.pop(late.endpoint, None)


def rows_until_due(letter: Letter, ids: list[SubscriptionId], now: Moment) -> list[DueRow]:
    """Rows for a message that is not due, each for many subscriptions."""
    rows: list[DueRow] = []
    for at in range(0, len(ids), IDS_IN_A_ROW):
        some = ids[at : at + IDS_IN_A_ROW]
        row = Row(subscriptions=some, failures=0, letter=letter)
        key = f"{letter.position}:{some[0]}:{now}"
        rows.append(DueRow(key, row, letter.available_at))
    return rows
