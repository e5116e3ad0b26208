"""What is to be sent later: messages that failed, and messages that were not due.

They are leased messages of an internal queue. What is in hand is bounded in bytes. A row that this
process cannot begin soon it leaves alone: its lease ends, and it comes again. A row for many is
never done twice for those who had it: those who cannot be told soon get a row of their own.
"""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from nuska.core.dead_letters import Letter
from nuska.core.deliveries import Row, decode_row
from nuska.delivery.carrying import Carries
from nuska.delivery.endpoints import Endpoint
from nuska.delivery.held import HeldBytes
from nuska.delivery.journal import DueRow
from nuska.delivery.leased import Claim, LateDelivery, Leased
from nuska.domain.errors import Unavailable
from nuska.domain.internal import internal
from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment, after, seconds
from nuska.domain.positions import CLAIM_ID_BYTES, claim_id
from nuska.domain.subscriptions import SubscriptionId
from nuska.interfaces.clock import Clock
from nuska.interfaces.storage import RandomBytes, Store

LEASE = seconds(120)
LONGEST_SEND = seconds(60)
"""What is not begun this long before the end of its lease is not begun."""
FEWEST_AT_ONCE = 5
MOST_AT_ONCE = 40
"""Rows of one claim."""
BYTES_AT_ONCE = 1_048_576
"""Claims of more are made smaller."""
BYTES_IN_HAND = 4_194_304
"""Of rows of one queue that have not begun."""
IN_HAND_PER_ENDPOINT = 100
"""Rows for one endpoint that has not answered well lately."""
PATIENCE: Duration = seconds(2)
"""A row for many is parted from whoever has not begun by then and does not answer well."""
ROOM_AWAITED = Duration(100)
IDS_IN_A_ROW = 500
LOOKED_FOR_EVERY = seconds(60)
LOOKED_FOR_AT_LEAST_EVERY = seconds(1_920)
"""Rows of a node that was held up may turn up at any time; the longer none has, the less often
they are looked for."""
REPAIR_AWAITED = seconds(60)
"""How long a row rests whose subscription is disabled."""


class Retries:
    """The rows of one queue."""

    def __init__(
        self,
        carrier: Carries,
        store: Store,
        clock: Clock,
        random_bytes: RandomBytes,
        held: HeldBytes,
    ) -> None:
        self._carrier = carrier
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._held = held
        self._rows = internal("retries", carrier.queue)
        self._in_hand: dict[str, Leased] = {}
        self._waiting: dict[str, Leased] = {}
        """Of these, those with deliveries that have not begun; the one that waits longest first."""
        self._bytes = 0
        """Of those that wait."""
        self._per_endpoint: dict[Endpoint, int] = {}
        self._held_up: list[LateDelivery] = []
        """They wait for room in the journal."""
        self._claims: dict[str, Claim] = {}
        self._at_once = FEWEST_AT_ONCE
        self._look_after: Duration = LOOKED_FOR_EVERY
        self._due_at = Moment(0)
        """When to look next."""

    @property
    def in_hand(self) -> int:
        return len(self._in_hand)

    @property
    def due_at(self) -> Moment:
        """When there is something to do next."""
        for leased in self._waiting.values():
            if leased.is_shared:
                return min(self._due_at, after(leased.since, PATIENCE))
        return self._due_at

    def expect(self, due: Moment) -> None:
        """A row is due then."""
        self._due_at = min(self._due_at, due)
        self._look_after = LOOKED_FOR_EVERY

    async def take_due(self) -> bool:
        """Take rows that are due and offer them; whether there may be more."""
        now = self._clock.now()
        self._part_from_slow(now)
        if now < self._due_at or not self._carrier.is_open():
            return False
        if not self._has_room(now):
            self._due_at = after(now, ROOM_AWAITED)
            return False
        claim = Claim(claim_id(self._random_bytes(CLAIM_ID_BYTES)), after(now, LEASE))
        claimed = await self._store.claims.create(
            self._rows, claim_id=claim.id, limit=self._at_once, ttl=LEASE, grace=LEASE, now=now
        )
        if claimed.messages:
            self._keep(claim, claimed.messages, now)
            return True  # another look says when the next one is due
        due = await self._store.messages.next_due(self._rows, now=now)
        latest = after(now, self._look_after)
        self._look_after = Duration(min(2 * self._look_after, LOOKED_FOR_AT_LEAST_EVERY))
        self._due_at = latest if due is None else min(due, latest)
        return False

    def go_on(self) -> None:
        """There is room in the journal again."""
        held_up, self._held_up = self._held_up, []
        for late in held_up:
            if late.waits:
                self._carrier.offer_late(late)

    def part(self) -> None:
        """Another process goes on: whoever is left of a row that others have had gets one of his
        own."""
        now = self._clock.now()
        for leased in list(self._in_hand.values()):
            if leased.is_begun:
                for late in list(leased.open.values()):
                    self._withdraw(late)
                    self.postpone(late, now)

    async def give_back(self) -> None:
        """After what has happened is written: let another process have the rest at once."""
        now = self._clock.now()
        for claim in list(self._claims.values()):
            if now < claim.until:
                with suppress(Unavailable):
                    await self._store.claims.release(self._rows, claim.id, now=now)
        self.forget()

    def forget(self) -> None:
        """Another node is in charge now."""
        for leased in list(self._waiting.values()):
            for late in list(leased.waiting.values()):
                self._withdraw(late)
        self._in_hand.clear()
        self._per_endpoint.clear()
        self._claims.clear()
        self._held_up.clear()

    # Taking

    def _keep(self, claim: Claim, messages: list[Message], now: Moment) -> None:
        self._claims = {id_: old for id_, old in self._claims.items() if now < old.until}
        self._claims[claim.id] = claim
        for message in messages:
            if message.id not in self._in_hand:
                self._unfold(message.id, decode_row(message.body), claim, now)
        if sum(len(message.body) for message in messages) > BYTES_AT_ONCE:
            self._at_once = max(1, self._at_once // 2)
        elif len(messages) == self._at_once:
            self._at_once = min(MOST_AT_ONCE, 2 * self._at_once)

    def _unfold(self, row_id: str, row: Row, claim: Claim, now: Moment) -> None:
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
        if len(known) == 1:
            endpoint = known[0].endpoint
            few = endpoint.proven or self._per_endpoint.get(endpoint, 0) < IN_HAND_PER_ENDPOINT
            if not few:
                return  # its lease ends, and it comes again
        leased = Leased(row_id, row, claim, now)
        self._in_hand[row_id] = self._waiting[row_id] = leased
        self._count(leased.size)
        lates = [LateDelivery(self, leased, recipient) for recipient in known]
        for late in lates:
            self._offer(late, now)

    def _offer(self, late: LateDelivery, now: Moment) -> None:
        endpoint = late.endpoint
        self._per_endpoint[endpoint] = self._per_endpoint.get(endpoint, 0) + 1
        if late.recipient.subscription.disabled is not None and not late.leased.row.trial:
            self._withdraw(late)
            self.postpone(late, after(now, REPAIR_AWAITED))
        elif not late.is_retry and not endpoint.breaker.may_begin(now):
            self._withdraw(late)
            self.postpone(late, endpoint.breaker.next_at)
        else:
            self._carrier.offer_late(late)

    # Beginning and ending

    def begin(self, late: LateDelivery, *, probe: bool) -> Coroutine[Any, Any, None] | None:
        leased, carrier = late.leased, self._carrier
        if not late.waits:
            return None
        if not carrier.is_open():
            self._held_up.append(late)
            return None
        self._begun(late)
        recipient = carrier.recipients.get(late.recipient.id)
        if recipient is None:
            self.dealt_with(late)
            return None
        late.recipient = recipient  # perhaps it was started anew meanwhile
        now = self._clock.now()
        if now < leased.claim.until - LONGEST_SEND:
            return carrier.deliver_late(late, probe=probe)
        if leased.is_shared:
            self.postpone(late, now)
        else:
            self._let_go(late)
        return None

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
        leased.open.pop(late.recipient.id, None)
        if not leased.open and self._in_hand.pop(leased.id, None) is not None:
            self._carrier.finish_row(leased.id)

    def _begun(self, late: LateDelivery) -> None:
        """It waits no more."""
        leased = late.leased
        leased.waiting.pop(late.recipient.id, None)
        if not leased.waiting and self._waiting.pop(leased.id, None) is not None:
            self._count(-leased.size)

    def _withdraw(self, late: LateDelivery) -> None:
        self._begun(late)
        self._carrier.withdraw_late(late)

    def _let_go(self, late: LateDelivery) -> None:
        """Leave the row, which is for nobody else, to the end of its lease."""
        self._release(late)
        self._in_hand.pop(late.leased.id, None)

    def _release(self, late: LateDelivery) -> None:
        left = self._per_endpoint.get(late.endpoint, 0) - 1
        if left > 0:
            self._per_endpoint[late.endpoint] = left
        else:
            self._per_endpoint.pop(late.endpoint, None)

    # Room

    def _count(self, change: int) -> None:
        self._bytes += change
        self._held.rows += change

    def _has_room(self, now: Moment) -> bool:
        """Whether more rows may be taken; room is made, if there is none, by those who wait for
        endpoints that do not answer well."""
        if self._is_roomy:
            return True
        for leased in list(self._waiting.values()):
            if now - leased.since < PATIENCE:
                break
            lates = list(leased.waiting.values())
            if not leased.is_shared and not lates[0].endpoint.proven:
                self._withdraw(lates[0])
                self._let_go(lates[0])
        return self._is_roomy

    @property
    def _is_roomy(self) -> bool:
        if not self._waiting:
            return True
        return self._bytes < BYTES_IN_HAND and not self._held.is_full

    def _part_from_slow(self, now: Moment) -> None:
        """Nobody's hanging endpoint keeps a row for many in hand."""
        for leased in list(self._waiting.values()):
            if now - leased.since < PATIENCE:
                break
            if leased.is_shared:
                for late in list(leased.waiting.values()):
                    if not late.endpoint.proven:
                        self._withdraw(late)
                        self.postpone(late, now)
                if leased.waiting:  # they are being told, one after another
                    leased.since = now
                    self._waiting[leased.id] = self._waiting.pop(leased.id)


def rows_until_due(letter: Letter, ids: list[SubscriptionId], now: Moment) -> list[DueRow]:
    """Rows for a message that is not due, each for many subscriptions."""
    rows: list[DueRow] = []
    for at in range(0, len(ids), IDS_IN_A_ROW):
        some = ids[at : at + IDS_IN_A_ROW]
        row = Row(subscriptions=some, failures=0, letter=letter)
        key = f"{letter.position}:{some[0]}:{now}"
        rows.append(DueRow(key, row, letter.available_at))
    return rows
