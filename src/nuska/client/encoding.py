"""Messages as JSON text, and cutting a stream of them into posts that the server takes.

Refuses what JSON cannot say (NaN, infinity, lone surrogates, objects of Python) before
anything is sent.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any, NewType

from nuska.client.records import NewMessage

EncodedMessage = NewType("EncodedMessage", bytes)
"""One element of a post's ``messages``, as JSON text."""

MESSAGES_PER_POST = 100
"""How many messages a batch has at most unless told otherwise: far more save little."""
POST_SIZE = 262_144
"""Bytes a server takes in one post unless it says otherwise."""

_HEAD, _TAIL = b'{"messages":[', b"]}"
_as_text = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def encode_json(value: Any) -> bytes:
    """``value`` as JSON text; ``ValueError`` or ``TypeError`` when JSON cannot say it."""
    return _as_text(value).encode()


def encode_message(message: NewMessage) -> EncodedMessage:
    """``message`` as it goes into a post."""
    body = encode_json(message.body)
    if message.ttl is None and message.delay is None and message.attributes is None:
        return EncodedMessage(b'{"body":%b}' % body)
    terms = {"ttl": message.ttl, "delay": message.delay, "attributes": message.attributes}
    given = encode_json({name: value for name, value in terms.items() if value is not None})
    return EncodedMessage(b'{"body":%b,%b' % (body, given[1:]))


def post_document(messages: Iterable[EncodedMessage]) -> bytes:
    """The body of a post."""
    return _HEAD + b",".join(messages) + _TAIL


class TooLarge(ValueError):
    """One message alone is more than the server takes in one post."""


class Batcher:
    """Collects messages until one more would be too many, or too many bytes, for one post."""

    def __init__(self, *, count: int = MESSAGES_PER_POST, size: int = POST_SIZE) -> None:
        if count < 1:
            raise ValueError("a batch has at least one message")
        self._count = count
        self._size = size
        self._batch: list[EncodedMessage] = []
        self._bytes = len(_HEAD) + len(_TAIL)

    def add(self, message: EncodedMessage) -> list[EncodedMessage]:
        """Take ``message``; returns the batch to post first if it did not fit in, else nothing."""
        if len(_HEAD) + len(message) + len(_TAIL) > self._size:
            raise TooLarge(
                f"the message has {len(message)} bytes as JSON; "
                f"the queue takes at most {self._size} in one post"
            )
        full = len(self._batch) >= self._count or self._bytes + len(message) + 1 > self._size
        done = self.take() if full else []
        self._batch.append(message)
        self._bytes += len(message) + 1
        return done

    def take(self) -> list[EncodedMessage]:
        """What has been collected; the batcher is empty afterwards."""
        done, self._batch = self._batch, []
        self._bytes = len(_HEAD) + len(_TAIL)
        return done


def batches(
    messages: Iterable[NewMessage], *, count: int = MESSAGES_PER_POST, size: int = POST_SIZE
) -> Iterator[list[EncodedMessage]]:
    """``messages``, in order, in as few posts as the limits allow."""
    batcher = Batcher(count=count, size=size)
    for message in messages:
        if full := batcher.add(encode_message(message)):
            yield full
    if rest := batcher.take():
        yield rest
