"""A subscription: whom to tell of what is posted to a queue or topic, and how.

Says what one is and which forms a subscriber may have. Whether one may be made, and what
happens when something is posted, is decided elsewhere.
"""

from typing import Literal, NewType

from msgspec import Struct

from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import Position

SubscriptionId = NewType("SubscriptionId", str)
"""24 hexadecimal digits."""

Options = dict[str, object]
"""A free-form JSON object. Keys with a meaning: see contract notifications §1, docs."""

Confirmation = Literal["mail", "all", "none"]
"""Who must say that he wants to be told before he is: whoever has an address of mail, all that
can be asked, or nobody."""

UNSUBSCRIBED = "The subscriber does not want to be told any more."
"""Why a subscription is disabled whose subscriber has said so."""

SUBSCRIPTION_ID_BYTES = 12
_ID_DIGITS = SUBSCRIPTION_ID_BYTES * 2
_HEX = frozenset("0123456789abcdef")


class Disabled(Struct, frozen=True):
    """Why nothing is sent to a subscriber until somebody repairs the subscription."""

    reason: str
    """In plain words, for whoever repairs it."""
    at: Moment


class Waiting(Struct, frozen=True):
    """Nothing is sent to a subscriber, because he has not confirmed."""

    problem: str | None
    """Why he cannot even be asked, in words for whoever can mend it."""


class Subscription(Struct, frozen=True, kw_only=True):
    """A subscription as it is stored. Treat ``options`` as read-only."""

    id: SubscriptionId
    queue: QueueRef
    """Or a topic (``domain/internal.py``)."""
    subscriber: str
    """Exactly as posted, scheme and all."""
    ttl: Duration
    options: Options
    created_at: Moment
    restarted_at: Moment
    """Creation or the last change of the ttl; the age a client sees counts from here."""
    expires_at: Moment
    confirmed: bool = False
    since: Position
    """It is told of what was posted above this."""
    disabled: Disabled | None = None
    letters_above: Moment = Moment(0)
    """Letters that end by then went to another subscriber (``domain/letters.py``)."""
    letters_until: Moment = Moment(0)
    """No letter to the present one ends later."""

    @property
    def has_left(self) -> bool:
        """The subscriber himself has said that he wants to be told no more."""
        return self.disabled is not None and self.disabled.reason == UNSUBSCRIBED

    @property
    def scheme(self) -> str:
        """In lower case: ``https``, ``mailto``, ``queue``."""
        return self.subscriber.partition(":")[0].lower()


def subscription_id(random: bytes) -> SubscriptionId:
    """The public id of a subscription: 24 hexadecimal digits."""
    return SubscriptionId(random.hex())


def is_subscription_id(text: str) -> bool:
    """Whether ``text`` can be the id of a subscription."""
    return len(text) == _ID_DIGITS and _HEX.issuperset(text)


def must_confirm(scheme: str, confirmation: Confirmation) -> bool:
    """Whether a subscriber of this kind is told of nothing until he has confirmed.

    Never one whom the owner of the project has proved to control in another way: by a trust,
    or because it is a queue of the same project.
    """
    if confirmation == "all":
        return scheme in ("http", "https", "mailto")
    return confirmation == "mail" and scheme == "mailto"
