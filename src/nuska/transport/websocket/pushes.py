"""New messages on their way to those who are connected: one encoding for all who get the same."""

from collections.abc import Sequence
from functools import lru_cache

from msgspec import Struct

from nuska.core.live import Announced, Gap
from nuska.domain.internal import is_topic
from nuska.domain.messages import QueueRef
from nuska.transport.wire import msgpack
from nuska.transport.wire.json import encode

NOTIFICATION = "Notification"
GAP = "Gap"
ENDED = "SubscriptionEnded"


class Pushes(Struct, frozen=True, gc=False):
    """Messages of one queue for one subscription, in their order."""

    batch: Sequence[Announced]
    detailed: bool

    def __len__(self) -> int:
        return len(self.batch)


class Notice(Struct, frozen=True, gc=False):
    """Something that is said about a subscription."""

    text: bytes

    def __len__(self) -> int:
        return 1


def gap_notice(gap: Gap) -> Notice:
    words = {"Message_Type": GAP, _word(gap.queue): gap.queue.name, "marker": str(gap.marker)}
    return Notice(encode(words))


def ended_notice(subscription_id: str) -> Notice:
    return Notice(encode({"Message_Type": ENDED, "subscription_id": subscription_id}))


def encode_push(item: Announced, *, detailed: bool, binary: bool) -> bytes:
    """One message as it is pushed (contract websocket-v2 §6)."""
    message = item.message
    head = f'{{"ttl": {message.ttl // 1000}, "body": '.encode()
    tail = _tail(_word(item.queue), item.queue.name)
    if detailed:
        tail += f', "message_id": "{message.id}", "marker": "{item.marker}"'.encode()
        if message.attributes is not None:
            tail += b', "attributes": ' + message.attributes
    return in_encoding(b"".join((head, message.body, tail, b"}")), binary=binary)


def in_encoding(text: bytes, *, binary: bool) -> bytes:
    return b"".join(msgpack.pieces_from_json(text)) if binary else text


def _word(queue: QueueRef) -> str:
    return "topic_name" if is_topic(queue) else "queue_name"


@lru_cache(maxsize=1024)
def _tail(word: str, name: str) -> bytes:
    return f', "Message_Type": "{NOTIFICATION}", "{word}": "{name}"'.encode()
