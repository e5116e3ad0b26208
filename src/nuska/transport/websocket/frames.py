"""One message of a client, read, and the reply to it, written.

Inside there is only JSON: MessagePack is turned into it at this edge, and back. What is secret
in a request is not repeated in its reply (S2), and no log sees any of it.
"""

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import TypeAlias

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from nuska.domain.errors import InvalidBody, NuskaError, Unavailable
from nuska.domain.limits import MAX_JSON_DEPTH
from nuska.domain.webhooks import SECRETS_KEY, without_secrets
from nuska.transport.wire import json, msgpack
from nuska.transport.wire.errors import status_of

MAX_REQUEST_ID = 64
"""Characters."""
ENVELOPE_LEVELS = 5
"""Frame, body, messages, message, and the body or attributes of one: how much deeper than a
posted body a frame may be."""
_LONGEST_REMEMBERED = 64
"""Characters of an action whose name is written once for all its replies."""
LIGHT = 1024
"""Bytes of a document that takes little room, however it is written."""
PER_VALUE, PER_OBJECT = 64, 184
"""Bytes in memory, about, of a small value, list or text, and of an object with one member."""
WIDEST = 4
"""Bytes in memory of each character of a text in which one is not plain."""
BYTES_PER_TURN = 65_536
"""Of a large reply in MessagePack, before others get their turn."""
_SECRET_WORDS = ("token", "signature", "secret", "password", "authorization", "cookie", "api-key")
"""A header with one of these in its name holds a credential."""

RequestId: TypeAlias = str | int


class Reply(Struct, frozen=True, gc=False):
    """What is answered: a status, and a JSON document."""

    status: int
    body: bytes


class Refused(Exception):
    """Answer with this and do nothing else; what a WebSocket alone can refuse."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Frame(Struct, kw_only=True):
    """A message that is a document, whatever it says."""

    data: bytes
    """As JSON text."""
    document: dict[str, object]
    binary: bool
    """It came as MessagePack, so that is how it is answered."""
    id: RequestId | None = None

    @property
    def weight(self) -> int:
        """About how many bytes it takes in memory: a thing of two letters may take thirty times
        as many there. A comma in a text counts for a value, too."""
        text = self.data
        size = len(text)
        if size <= LIGHT:
            return size
        if not text.isascii() or b"\\u" in text:
            size *= WIDEST
        values = text.count(b",") + text.count(b"[")
        return size + PER_VALUE * values + PER_OBJECT * text.count(b"{")


class _RawParts(Struct):
    """The members of a request's body whose text matters as it was written."""

    messages: Raw | UnsetType = UNSET
    metadata: Raw | UnsetType = UNSET
    options: Raw | UnsetType = UNSET


class _RawFrame(Struct):
    body: Raw | UnsetType = UNSET
    headers: Raw | UnsetType = UNSET


class _RawBody(Struct):
    body: _RawParts


_raw_frame = msgspec.json.Decoder(_RawFrame).decode
_raw_body = msgspec.json.Decoder(_RawBody).decode
_pack = msgspec.msgpack.Encoder().encode


def refused(status: HTTPStatus, error: str, reason: str | None = None) -> Refused:
    body = {"error": error} if reason is None else {"error": error, "exception": reason}
    return Refused(Reply(status.value, json.encode(body)))


def failure(error: NuskaError) -> Reply:
    """What the service refused, in the words that HTTP has for it."""
    body: dict[str, object] = {
        "title": error.title,
        "exception": error.description,
        "error": error.description,
    }
    if isinstance(error, Unavailable) and error.retry_after is not None:
        body["retry_after"] = error.retry_after
    return Reply(status_of(error).value, json.encode(body))


BUG = Reply(500, json.encode({"error": "Unexpected error."}))


def read(data: bytes, *, binary: bool) -> Frame:
    """The document in a message. Raises ``Refused``."""
    kind = "binary (MessagePack)" if binary else "text (JSON)"
    try:
        text = msgpack.to_json(data) if binary else data
        is_map = text.lstrip()[:1] == b"{"
        document = json.decode_any(text if is_map or not text else b"[" + text + b"]")
        _check_depth(text, document)
    except InvalidBody as error:
        reason = f"Can't decode {kind} request. {type(error).__name__}: {error.description}"
        raise refused(HTTPStatus.BAD_REQUEST, reason) from None
    if not isinstance(document, dict):
        raise refused(HTTPStatus.BAD_REQUEST, "Unexpected body type. Expected dict or dict like.")
    return Frame(data=text, document=document, binary=binary, id=_request_id(document))


def bare(action: str, id_: RequestId | None, *, binary: bool) -> Frame:
    """In place of one that was not read: what its reply repeats."""
    found = _request_id({"request_id": id_})
    return Frame(data=b"{}", document={"action": action}, binary=binary, id=found)


def _check_depth(text: bytes, document: object) -> None:
    deepest = MAX_JSON_DEPTH + ENVELOPE_LEVELS
    if json.may_be_deep(text) and json.depth_exceeds(document, deepest):
        raise InvalidBody(json.TOO_DEEP)


def _request_id(document: dict[str, object]) -> RequestId | None:
    """The id; one that is none is as good as none, and the schema will say so."""
    given = document.get("request_id")
    if type(given) is int or (isinstance(given, str) and 0 < len(given) <= MAX_REQUEST_ID):
        return given
    return None


def raw_parts(frame: Frame) -> _RawParts:
    """Some members of the body, as they were written. Only for a frame with a body."""
    return _raw_body(frame.data).body


def written(part: Raw | UnsetType) -> bytes:
    return b"" if part is UNSET else bytes(part)


def packed_size(value: object) -> int:
    """Bytes of a value of the frame as MessagePack."""
    return len(_pack(value))


def encode_text(frame: Frame | None, reply: Reply, *, forget: bool = False) -> bytes:
    """The JSON text that answers ``frame`` (None: it was no document).

    ``forget``: repeat nothing but the action.
    """
    if frame is not None and frame.id is not None:
        return b'{"request": %b, "headers": {"status": %d}, "body": %b, "request_id": %b}' % (
            _named(frame.document.get("action")),
            reply.status,
            reply.body,
            msgspec.json.encode(frame.id),
        )
    return b"{" + b", ".join(_members(frame, reply, forget)) + b"}"


async def encode_binary(frame: Frame | None, reply: Reply, *, forget: bool = False) -> bytes:
    """The same as MessagePack; others get their turns while a large one is made."""
    members = _members(frame, reply, forget)
    packed = [bytes((0x80 | len(members),))]
    size = 0
    for member in members:
        key, _, value = member.partition(b": ")
        packed.append(_pack(key.decode().strip('"')))
        for piece in msgpack.pieces_from_json(value):
            packed.append(piece)
            size += len(piece)
            if size > BYTES_PER_TURN:
                await asyncio.sleep(0)
                size = 0
    return b"".join(packed)


def _members(frame: Frame | None, reply: Reply, forget: bool) -> list[bytes]:
    members = [
        b'"request": ' + _repeated(frame, forget=forget),
        b'"headers": {"status": %d}' % reply.status,
        b'"body": ' + reply.body,
    ]
    if frame is not None and frame.id is not None:
        members.append(b'"request_id": ' + msgspec.json.encode(frame.id))
    return members


def _repeated(frame: Frame | None, *, forget: bool) -> bytes:
    """The request as its reply repeats it: verbatim, but for what is secret."""
    if frame is None:
        return b'{"action": null, "body": {}, "headers": {}, "api": "v2"}'
    action = frame.document.get("action")
    if frame.id is not None or forget:
        return _named(action)
    raw = _raw_frame(frame.data)
    body = _shown_body(frame, written(raw.body) or b"{}")
    return _request(action, body, _shown_headers(frame, raw))


def _named(action: object) -> bytes:
    """A request of which nothing but the action is repeated."""
    if isinstance(action, str) and len(action) <= _LONGEST_REMEMBERED:
        return _remembered(action)
    return _request(action, b"{}", b"{}")


@lru_cache(maxsize=64)
def _remembered(action: str) -> bytes:
    return _request(action, b"{}", b"{}")


def _request(action: object, body: bytes, headers: bytes) -> bytes:
    return b'{"action": %b, "body": %b, "headers": %b, "api": "v2"}' % (
        json.encode(action),
        body,
        headers,
    )


def _shown_headers(frame: Frame, raw: _RawFrame) -> bytes:
    headers = frame.document.get("headers")
    if not isinstance(headers, dict):
        return written(raw.headers) or b"{}"
    if not any(_is_secret(name) for name in headers):
        return written(raw.headers)
    shown = {name: "***" if _is_secret(name) else value for name, value in headers.items()}
    return json.encode(shown)


def _is_secret(name: str) -> bool:
    lower = name.lower()
    return any(word in lower for word in _SECRET_WORDS)


def _shown_body(frame: Frame, body: bytes) -> bytes:
    given = frame.document.get("body")
    options = given.get("options") if isinstance(given, dict) else None
    if not isinstance(options, dict) or SECRETS_KEY not in options:
        return body
    assert isinstance(given, dict)
    return json.encode({**given, "options": without_secrets(options)})
