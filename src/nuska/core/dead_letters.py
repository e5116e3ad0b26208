"""What could not be delivered to a subscriber, as it is kept where its queue names no place.

One document for each message and subscriber: why, how often it was tried, and the message whole,
so that it can be sent again.
"""

import msgspec
from msgspec import Struct

from nuska.domain.messages import Message
from nuska.domain.moments import Duration, Moment
from nuska.domain.positions import MessageId, Position
from nuska.domain.subscriptions import SubscriptionId


class Letter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message on its own, outside the queue it was posted to."""

    id: MessageId
    position: Position
    body: msgspec.Raw
    ttl: Duration
    created_at: Moment
    expires_at: Moment
    available_at: Moment
    attributes: msgspec.Raw | None = None

    def message(self) -> Message:
        return Message(
            id=self.id,
            position=self.position,
            body=bytes(self.body),
            ttl=self.ttl,
            created_at=self.created_at,
            expires_at=self.expires_at,
            available_at=self.available_at,
            attributes=None if self.attributes is None else bytes(self.attributes),
        )


def letter_of(message: Message) -> Letter:
    attributes = message.attributes
    return Letter(
        id=message.id,
        position=message.position,
        body=msgspec.Raw(message.body),
        ttl=message.ttl,
        created_at=message.created_at,
        expires_at=message.expires_at,
        available_at=message.available_at,
        attributes=None if attributes is None else msgspec.Raw(attributes),
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
