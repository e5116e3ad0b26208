"""Messages as WebSocket frames, for when one is meant for many: framed, and compressed, once.

Possible because no connection here keeps a compression context from one message to the next
(``no_context_takeover``, both ways); that is also what keeps a connection small.
"""

from collections.abc import Sequence
from functools import lru_cache

from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import Frame, Opcode

PLAIN = 0
"""Instead of the bits of a compression window."""
WINDOW_BITS = 12
"""Of what we compress: four kilobytes, as much as most messages have."""
_LARGEST_WINDOW = 15
_TEXT, _BINARY = 0x81, 0x82
"""How a whole message begins."""
_TWO_BYTES, _EIGHT_BYTES = 126, 127
"""Instead of a length: it follows, in so many."""
_TOO_LONG_FOR_TWO = 65_536

DEFLATE = (
    ServerPerMessageDeflateFactory(
        server_no_context_takeover=True,
        client_no_context_takeover=True,
        server_max_window_bits=WINDOW_BITS,
        compress_settings={"memLevel": 5},
    ),
)


def framing_of(extensions: Sequence[Extension]) -> int:
    """How messages to a connection with these extensions are framed."""
    for extension in extensions:
        if isinstance(extension, PerMessageDeflate):
            return extension.local_max_window_bits
    return PLAIN


def framed(message: bytes, *, binary: bool, framing: int) -> bytes:
    """The bytes that are one message."""
    if framing == PLAIN:
        return _head(_BINARY if binary else _TEXT, len(message)) + message
    frame = Frame(Opcode.BINARY if binary else Opcode.TEXT, message)
    return frame.serialize(mask=False, extensions=_extensions(framing))


def _head(first: int, length: int) -> bytes:
    """What begins a whole message that is sent as it is."""
    if length < _TWO_BYTES:
        return bytes((first, length))
    if length < _TOO_LONG_FOR_TWO:
        return bytes((first, _TWO_BYTES)) + length.to_bytes(2)
    return bytes((first, _EIGHT_BYTES)) + length.to_bytes(8)


@lru_cache(maxsize=16)
def _extensions(framing: int) -> tuple[Extension, ...]:
    if framing == PLAIN:
        return ()
    return (PerMessageDeflate(True, True, _LARGEST_WINDOW, framing, {"memLevel": 5}),)
