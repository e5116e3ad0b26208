"""Rows in hand: a leased message of the retries queue, and what is to be sent for it."""

from collections.abc import Coroutine
from typing import Any, Protocol

from msgspec import Struct

from nuska.core.deliveries import Row
from nuska.delivery.endpoints import Endpoint
from nuska.delivery.recipients import Recipient
from nuska.domain.moments import Moment
from nuska.domain.subscriptions import SubscriptionId

OF_A_ROW = 1_000
OF_A_RECIPIENT = 300
"""Bytes beside the message, about."""


class Claim(Struct, frozen=True):
    """By which rows are leased."""

    id: str
    until: Moment
    """The end of the lease."""


class Leased:
    """A row in hand."""

    __slots__ = ("claim", "id", "known", "message", "open", "row", "since", "size", "waiting")

    def __init__(self, id_: str, row: Row, claim: Claim, now: Moment) -> None:
        self.id = id_
        self.row = row
        self.claim = claim
        self.message = row.letter.message()
        self.since = now
        """It waits since then."""
        attributes = self.message.attributes or b""
        more = OF_A_ROW + OF_A_RECIPIENT * len(row.subscriptions)
        self.size = len(self.message.body) + len(attributes) + more
        self.open: dict[SubscriptionId, LateDelivery] = {}
        """What has yet to be dealt with."""
        self.waiting: dict[SubscriptionId, LateDelivery] = {}
        """Of these, what has not begun."""
        self.known = 0

    @property
    def is_shared(self) -> bool:
        """It is for several subscriptions: what it says was done for some must not be repeated."""
        return len(self.row.subscriptions) > 1

    @property
    def is_begun(self) -> bool:
        """Some of those whom it is for have had it."""
        return len(self.open) < self.known


class Begins(Protocol):
    """What begins late deliveries."""

    def begin(self, late: "LateDelivery", *, probe: bool) -> Coroutine[Any, Any, None] | None: ...


class LateDelivery:
    """One message of a row, to one subscription of it."""

    __slots__ = ("_begins", "endpoint", "leased", "queued", "recipient")

    def __init__(self, begins: Begins, leased: Leased, recipient: Recipient) -> None:
        self._begins = begins
        self.leased = leased
        self.recipient = recipient
        self.endpoint: Endpoint = recipient.endpoint
        self.queued = False
        leased.open[recipient.id] = leased.waiting[recipient.id] = self
        leased.known += 1

    @property
    def is_retry(self) -> bool:
        return self.leased.row.failures > 0 or self.leased.row.trial

    @property
    def waits(self) -> bool:
        """It has not begun, and nobody has taken it back."""
        return self.leased.waiting.get(self.recipient.id) is self

    def has_more(self) -> bool:
        return False

    def begin(self, *, probe: bool) -> Coroutine[Any, Any, None] | None:
        return self._begins.begin(self, probe=probe)
