"""MessagePack at the edge: turned into JSON on the way in, and from JSON on the way out.

Taken is only what JSON can say: no binary, no extension types, no keys but text, no NaN. The
service itself knows one encoding of a body, the JSON text.
"""

import math
from collections.abc import Iterator

import msgspec

from nuska.collector import LARGE, unwatched
from nuska.domain.errors import InvalidBody
from nuska.transport.wire.json import TOO_DEEP

_decode = msgspec.msgpack.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode
_decode_json = msgspec.json.Decoder().decode
_encode_json = msgspec.json.Encoder().encode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

CONTENT_TYPE = "application/msgpack"


def to_json(data: bytes) -> bytes:
    """The JSON text of a MessagePack document; the JSON rules are checked by ``wire.json``.

    It may be several times as long.
    """
    return unwatched(_to_json, data)


def _to_json(data: bytes) -> bytes:
    try:
        document = _decode(data)
    except RecursionError:
        raise InvalidBody(TOO_DEEP) from None
    except (ValueError, TypeError) as error:
        raise InvalidBody(f"Request body could not be parsed as MessagePack: {error}.") from None
    try:
        text = _encode_json(document)
        if _decode_json(text) == document:  # C speed: whatever JSON cannot say comes back changed
            return text
    except RecursionError:
        raise InvalidBody(TOO_DEEP) from None
    except (ValueError, TypeError, NotImplementedError):
        pass
    _refuse(document)
    raise InvalidBody("The MessagePack document says something that JSON cannot.")


def pieces_from_json(data: bytes) -> Iterator[bytes]:
    """A reply of ours as MessagePack, in pieces: a large one's members and items apart."""
    if len(data) < LARGE or not data.startswith(b"{"):
        yield _from_json(data)
        return
    members = unwatched(_decode_members, data)
    yield _head(0x80, len(members))
    for key, value in members.items():
        yield _encode(key)
        raw = bytes(value)
        if raw.startswith(b"["):
            items = unwatched(_decode_items, raw)
            yield _head(0x90, len(items))
            for item in items:
                yield unwatched(_from_json, bytes(item))
        else:
            yield unwatched(_from_json, raw)


def _from_json(data: bytes) -> bytes:
    return _encode(_decode_json(data))


def _head(kind: int, count: int) -> bytes:
    """What begins a map (0x80) or an array (0x90) of so many."""
    if count < 16:
        return bytes((kind | count,))
    long = 0xDE if kind == 0x80 else 0xDC
    if count < 65_536:
        return bytes((long,)) + count.to_bytes(2)
    return bytes((long + 1,)) + count.to_bytes(4)


def _refuse(document: object) -> None:
    """Say what in ``document`` is not JSON."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        kind = type(value)
        if kind is dict:
            assert isinstance(value, dict)
            if not all(type(key) is str for key in value):
                raise InvalidBody("A MessagePack map may have text keys only, as in JSON.")
            waiting.extend(value.values())
        elif kind is list:
            assert isinstance(value, list)
            waiting.extend(value)
        elif kind is float:
            assert isinstance(value, float)
            if not math.isfinite(value):
                raise InvalidBody("MessagePack numbers must be finite, as in JSON.")
        elif kind not in (str, int, bool, type(None)):
            raise InvalidBody("MessagePack binary and extension types are not taken.")
