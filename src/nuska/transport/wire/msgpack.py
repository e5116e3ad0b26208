"""MessagePack at the edge: turned into JSON on the way in, and from JSON on the way out.

Taken is only what JSON can say: no binary, no extension types, no keys but text, no NaN. The
service itself knows one encoding of a body, the JSON text.
"""

import math

import msgspec

from nuska.domain.errors import InvalidBody
from nuska.transport.wire.json import TOO_DEEP

_decode = msgspec.msgpack.Decoder().decode
_decode_json = msgspec.json.Decoder().decode

CONTENT_TYPE = "application/msgpack"


def to_json(data: bytes) -> bytes:
    """The JSON text of a MessagePack document; the JSON rules are checked by ``wire.json``."""
    try:
        document = _decode(data)
    except RecursionError:
        raise InvalidBody(TOO_DEEP) from None
    except (ValueError, TypeError) as error:
        raise InvalidBody(f"Request body could not be parsed as MessagePack: {error}.") from None
    _check(document)
    try:
        return msgspec.json.encode(document)
    except RecursionError:
        raise InvalidBody(TOO_DEEP) from None


def from_json(data: bytes) -> bytes:
    """A reply of ours as MessagePack."""
    return msgspec.msgpack.encode(_decode_json(data))


def _check(document: object) -> None:
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
