"""Frames of the WebSocket API as JSON text: requests put together, replies and pushes read.

Refuses what does not look like this API. No sockets, no waiting.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct, field

from nuska.client.errors import CLASS_OF_STATUS, ErrorAnswer, UnreadableAnswer

NAMES = {
    name.lower(): name
    for name in (
        "Client-ID",
        "X-Project-ID",
        "X-Auth-Token",
        "Idempotency-Key",
        "URL-Signature",
        "URL-Expires",
        "URL-Methods",
        "URL-Paths",
    )
}
"""How headers are written in frames, where upper and lower case matter."""
LISTS = frozenset({"URL-Methods", "URL-Paths"})
"""Headers that are lists here and comma-separated text in HTTP."""

T = TypeVar("T")


class _Status(Struct, frozen=True):
    status: int


class _Refusal(Struct, frozen=True):
    """The body of a reply that is an error."""

    title: str | None = None
    exception: str | None = None
    error: str | None = None
    retry_after: float | None = None


class Frame(Struct, frozen=True, kw_only=True):
    """Whatever a server sends: replies have ``headers``, everything else a type."""

    request_id: int | str | None = None
    headers: _Status | None = None
    body: Raw = Raw(b"null")
    kind: str = field(name="Message_Type", default="")
    queue_name: str = ""
    topic_name: str = ""
    """Of what comes from a topic, which has no ``queue_name``."""
    message_id: str = ""
    marker: str = ""
    ttl: int = 0
    attributes: dict[str, Any] | None = None

    @property
    def source(self) -> str:
        """Where a push comes from."""
        return self.queue_name or self.topic_name

    def read(self, shape: type[T]) -> T:
        """The body as ``shape``; keys that ``shape`` does not know are ignored."""
        return _decode(self.body, shape)


_frames = msgspec.json.Decoder(Frame)


def read_frame(text: bytes) -> Frame:
    try:
        return _frames.decode(text)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UnreadableAnswer(f"A frame is not what this API sends ({error}).") from error


def request(action: str, number: int, *, headers: bytes, body: bytes) -> bytes:
    """A request that is answered with ``number``, out of turn if need be."""
    return b'{"action":"%b","request_id":%d,"headers":%b,"body":%b}' % (
        action.encode(),
        number,
        headers,
        body,
    )


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Headers as HTTP has them, for a frame."""
    named = {NAMES.get(name.lower(), name): value for name, value in headers.items()}
    return msgspec.json.encode(
        {name: value.split(",") if name in LISTS else value for name, value in named.items()}
    )


def encode_body(**values: Any) -> bytes:
    """The body of a request; what is None is left out."""
    return msgspec.json.encode({key: value for key, value in values.items() if value is not None})


def success(reply: Frame) -> Frame:
    """``reply``, or the error it stands for."""
    if reply.headers is None:
        raise UnreadableAnswer("A reply has no status.")
    if reply.headers.status >= 300:
        raise _error(reply.headers.status, reply.body)
    return reply


def _error(status: int, body: Raw) -> ErrorAnswer:
    try:
        refusal = msgspec.json.decode(body, type=_Refusal)
    except msgspec.ValidationError:  # some are a plain sentence
        refusal = _Refusal(error=str(msgspec.json.decode(body)))
    title, reason = refusal.title or "", refusal.exception or refusal.error or ""
    if not title and refusal.exception:
        title = refusal.error or ""
    is_final = status == HTTPStatus.SERVICE_UNAVAILABLE and bool(title)
    return CLASS_OF_STATUS.get(status, ErrorAnswer)(
        status,
        title=title,
        description=reason,
        retry_after=refusal.retry_after,
        final=is_final and refusal.retry_after is None,
    )


def _decode(text: bytes | Raw, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise UnreadableAnswer(f"The answer is not what this API gives here ({error}).") from error
