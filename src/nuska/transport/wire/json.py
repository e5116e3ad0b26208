"""Strict JSON: what comes in is checked once, completely, and kept as it was posted.

Taken: UTF-8 without a byte order mark, an object or array at the top, finite numbers, integers
of signed 64 bit, at most ``MAX_JSON_DEPTH`` levels. Everything else is ``InvalidBody``, so that
no posted body can spoil a page of somebody who reads it (contract README §12).

msgspec refuses most of it by itself. Two things it lets through are screened at C speed, and
only a document that the screen suspects is walked: integers beyond 64 bit, and depth.
"""

import re

import msgspec

from nuska.collector import unwatched
from nuska.domain.errors import InvalidBody
from nuska.domain.limits import MAX_JSON_DEPTH

_decode = msgspec.json.Decoder().decode
_pack = msgspec.msgpack.Encoder().encode

# MessagePack writes an integer from 2**63 up as 0xcf and eight bytes of which the first is
# 0x80 or more; beyond 64 bit it cannot write it at all. The pattern also occurs inside some
# texts and floats, which is why it only arouses suspicion.
_suspicious = re.compile(rb"\xcf[\x80-\xff]").search

_SMALLEST_INTEGER = -(2**63)
_LARGEST_INTEGER = 2**63 - 1

TOO_LARGE = "The request body has an integer that is too large: 64 bit signed is the limit."
TOO_DEEP = f"The request body is nested too deeply: the limit is {MAX_JSON_DEPTH} levels."


def decode_any(data: bytes) -> object:
    """The document in ``data``, strictly checked but for its depth."""
    try:
        document = _decode(data)
    except RecursionError:
        raise InvalidBody(TOO_DEEP) from None
    except ValueError as error:  # msgspec's errors, and UnicodeDecodeError
        raise InvalidBody(f"Request body could not be parsed: {error}.") from None
    if type(document) is not dict and type(document) is not list:
        raise InvalidBody("Request body could not be parsed: it must be a JSON object or array.")
    try:
        suspected = _suspicious(_pack(document)) is not None
    except OverflowError:
        raise InvalidBody(TOO_LARGE) from None
    except RecursionError:
        raise InvalidBody(TOO_DEEP) from None
    if suspected:
        check_integers(document)
    return document


def decode_document(data: bytes) -> object:
    """The document in ``data``, strictly checked."""
    return unwatched(_decode_document, data)


def _decode_document(data: bytes) -> object:
    document = decode_any(data)
    check_depth(data, document)
    return document


def decode_object(data: bytes) -> dict[str, object]:
    """The JSON object in ``data``, strictly checked."""
    document = decode_document(data)
    if not isinstance(document, dict):
        raise InvalidBody("Document type not supported: the request body must be a JSON object.")
    return document


def may_be_deep(data: bytes) -> bool:
    """Whether ``data`` has enough brackets to exceed the depth at all."""
    return data.count(b"[") + data.count(b"{") > MAX_JSON_DEPTH


def check_depth(data: bytes, document: object) -> None:
    """Refuse ``document``, decoded from ``data``, when it is nested too deeply."""
    if may_be_deep(data) and depth_exceeds(document, MAX_JSON_DEPTH):
        raise InvalidBody(TOO_DEEP)


def depth_exceeds(document: object, limit: int) -> bool:
    """Whether arrays and objects are nested more than ``limit`` levels; level by level."""
    level = [document] if isinstance(document, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            return True
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) is dict or type(child) is list
        ]
    return False


def check_integers(document: object) -> None:
    """Refuse integers beyond signed 64 bit anywhere in ``document``."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if type(value) is dict:
            waiting.extend(value.values())
        elif type(value) is list:
            waiting.extend(value)
        elif type(value) is int and not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            raise InvalidBody(TOO_LARGE)


def encode(document: object) -> bytes:
    """``document`` as JSON: UTF-8, separators ``", "`` and ``": "`` (contract README §12)."""
    return msgspec.json.format(msgspec.json.encode(document), indent=0)
