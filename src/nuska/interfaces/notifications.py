"""Between what decides that somebody is told of a message, and what tells him.

Senders know how to reach one kind of subscriber and nothing of retries, breakers and cursors;
those who plan deliveries know nothing of HTTP and mail.
"""

from typing import Protocol, runtime_checkable

from msgspec import Struct

from nuska.domain.messages import Message, QueueRef
from nuska.domain.moments import Duration, Moment
from nuska.domain.subscriptions import Subscription
from nuska.interfaces.announcing import AnnouncingStore
from nuska.interfaces.identity import Caller
from nuska.interfaces.records import RecordStore

SUBSCRIPTIONS = "subscriptions"
"""The collection of records that subscriptions are; their keys are project, queue and id."""
MAX_ERROR = 300
"""Characters of what an attempt log keeps of an error."""


class Notification(Struct, frozen=True, gc=False, kw_only=True):
    """One message on its way to one subscriber."""

    subscription: Subscription
    message: Message
    attempt: int = 1
    """Counts from 1."""
    name: str = ""
    """Of the queue or topic, as its owner calls it."""
    round: int = 0
    """Not 0: the subscriber was told before, and somebody has asked for it again, by this
    number."""


class Outcome(Struct, frozen=True, gc=False, kw_only=True):
    """What became of one attempt."""

    ok: bool
    latency: Duration
    status: int | None = None
    """The answer's, of HTTP or SMTP; None where there was none."""
    error: str | None = None
    """Plain words, at most ``MAX_ERROR`` characters, and no secret."""
    retry_after: Duration | None = None
    """The subscriber asked not to be tried before this has passed."""
    permanent: bool = False
    """Trying again cannot help."""
    gone: bool = False
    """The subscriber wants nothing any more: the subscription is to be disabled."""


class Sender(Protocol):
    """Reaches subscribers of some schemes. Has a total limit of time of its own, and raises
    nothing but ``CancelledError``."""

    async def send(self, notification: Notification) -> Outcome:
        """Tell the subscriber of the message, once."""
        ...

    async def ask(self, subscription: Subscription, request: "ConfirmationRequest") -> Outcome:
        """Ask the subscriber to confirm, or tell that he has unsubscribed."""
        ...

    def endpoint(self, subscription: Subscription) -> str:
        """What fails together, and so is held apart from others: scheme, host and port of a
        webhook, the domain of an address. No secret: it is shown."""
        ...

    async def close(self) -> None: ...


class ConfirmationRequest(Struct, frozen=True, kw_only=True):
    """What a subscriber is sent about the subscription itself (contract notifications §5)."""

    type: str
    """``SubscriptionConfirmation`` or ``UnsubscribeConfirmation``."""
    queue_name: str
    project: str
    """As the subscriber must name it."""
    path: str
    """Of the confirm route."""
    signature: str
    expires: str
    """As signed: ``YYYY-MM-DDTHH:MM:SS``."""
    public_url: str | None = None
    """Where the service is reached, without a trailing slash, if the operator said."""


class Followers(Protocol):
    """Those who carry notifications out, as seen by whoever changes what they go by. Hints:
    what is true is in the records."""

    def changed(self, queue: QueueRef) -> None:
        """A subscription of the queue or topic was made, changed or removed."""
        ...


class Trusts(Protocol):
    """Keystone's trusts: what lets the service act for a caller later on."""

    async def create(self, caller: Caller, token: str | None, *, until: Moment) -> str:
        """The id of a new trust by which the service may act for the caller, who has shown
        ``token`` (None: something else).

        Raises ``NuskaError`` when there can be none.
        """
        ...

    async def check(self, caller: Caller, trust: str) -> None:
        """Return if the trust is one that the caller has given; else raise ``InvalidInput``."""
        ...


@runtime_checkable
class SubscribableStore(AnnouncingStore, Protocol):
    """A store that can keep subscriptions and what is to be told to them."""

    @property
    def records(self) -> RecordStore: ...
