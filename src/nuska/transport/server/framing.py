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
    frame = Frame(Opcode.BINARY if binary else Opcode.TEXT, message)
    return frame.serialize(mask=False, extensions=_extensions(framing))


@lru_cache(maxsize=16)
def _extensions(framing: int) -> tuple[Extension, ...]:
    if framing == PLAIN:
        return ()
    return (PerMessageDeflate(True, True, _LARGEST_WINDOW, framing, {"memLevel": 5}),)
