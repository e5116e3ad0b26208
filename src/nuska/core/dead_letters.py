"""What could not be delivered to a subscriber, as it is kept.

Where the queue names a dead-letter queue, it stands there as a message like the one posted, and
its ``attributes`` say why; else in an internal queue, one document for each message and
subscriber: why, how often it was tried, and the message whole, so that it can be sent again.
"""

import msgspec
from msgspec import Raw, Struct

from nuska.domain.attributes import DEAD_DELIVERY
from nuska.domain.messages import Message
from nuska.domain.moments import LAST_MOMENT, Duration, Moment
from nuska.domain.positions import MessageId, Position, parse_message_id
from nuska.domain.subscriptions import SubscriptionId, is_subscription_id

NULL = b"null"
NO_ATTRIBUTES = Raw(NULL)


class Letter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message on its own, outside the queue it was posted to."""

    id: MessageId
    position: Position
    body: Raw
    ttl: Duration
    created_at: Moment
    expires_at: Moment
    available_at: Moment
    attributes: Raw = NO_ATTRIBUTES
    """JSON; not ``Raw | None``, which the library decodes as null alone."""

    @property
    def attributes_as_posted(self) -> bytes | None:
        attributes = bytes(self.attributes)
        return None if attributes == NULL else attributes

    def message(self) -> Message:
        return Message(
            id=self.id,
            position=self.position,
            body=bytes(self.body),
            ttl=self.ttl,
            created_at=self.created_at,
            expires_at=self.expires_at,
            available_at=self.available_at,
            attributes=self.attributes_as_posted,
        )


def letter_of(message: Message) -> Letter:
    """``message``, its body as it lies in the store."""
    attributes = message.attributes
    return Letter(
        id=message.id,
        position=message.position,
        body=Raw(message.stored or message.body),
        ttl=message.ttl,
        created_at=message.created_at,
        expires_at=message.expires_at,
        available_at=message.available_at,
        attributes=NO_ATTRIBUTES if attributes is None else Raw(attributes),
    )


class Buried(Struct, frozen=True, kw_only=True):
    """A delivery that was given up."""

    subscription: SubscriptionId
    subscriber: str
    reason: str
    """Of the last attempt, in plain words."""
    attempts: int
    at: Moment
    letter: Letter


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Buried).decode


def encode_buried(buried: Buried) -> bytes:
    return _encode(buried)


def decode_buried(body: bytes) -> Buried:
    return _decode(body)


class DeadDelivery(Struct, frozen=True, kw_only=True):
    """The attribute that says why a message is in a dead-letter queue. No post may carry it, so
    what says it was written here."""

    origin: str
    """The queue or topic that the message was posted to, in the same project."""
    is_topic: bool = False
    message: MessageId
    subscription: SubscriptionId
    subscriber: str
    reason: str
    attempts: int
    at: Moment


_decode_attributes = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_dead_delivery = msgspec.json.Decoder(DeadDelivery).decode


def with_dead_delivery(attributes: bytes | None, dead: DeadDelivery) -> bytes:
    """A message's attributes, and why it is dead."""
    held = {} if attributes is None else _decode_attributes(attributes)
    return _encode({**held, DEAD_DELIVERY: dead})


def without_dead_delivery(attributes: bytes) -> bytes | None:
    """The attributes as they were posted."""
    held = _decode_attributes(attributes)
    held.pop(DEAD_DELIVERY, None)
    return _encode(held) if held else None


def dead_delivery_of(attributes: bytes | None) -> DeadDelivery | None:
    """Why a message is in a dead-letter queue; None if it is no delivery."""
    if attributes is None or DEAD_DELIVERY.encode() not in attributes:
        return None
    held = _decode_attributes(attributes).get(DEAD_DELIVERY)
    try:
        dead = None if held is None else _decode_dead_delivery(held)
    except msgspec.ValidationError:  # nothing that we have written
        return None
    if dead is None or not (0 <= dead.at <= LAST_MOMENT and dead.attempts >= 0):
        return None
    ids = is_subscription_id(dead.subscription), parse_message_id(dead.message)
    return dead if all(ids) else None
