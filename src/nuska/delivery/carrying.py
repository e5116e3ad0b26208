"""What those who keep a queue's late deliveries may ask of what carries them out."""

from collections.abc import Coroutine
from typing import Any, Protocol

from nuska.core.dead_letters import Letter
from nuska.delivery.journal import DueRow
from nuska.delivery.leased import LateDelivery
from nuska.delivery.recipients import Recipient
from nuska.domain.messages import QueueRef
from nuska.domain.subscriptions import SubscriptionId


class Carries(Protocol):
    """One queue's."""

    queue: QueueRef
    recipients: dict[SubscriptionId, Recipient]

    def is_open(self) -> bool:
        """Whether deliveries may begin now."""
        ...

    def deliver_late(self, late: LateDelivery, *, probe: bool) -> Coroutine[Any, Any, None]: ...

    def offer_late(self, late: LateDelivery) -> None: ...

    def withdraw_late(self, late: LateDelivery) -> None: ...

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
