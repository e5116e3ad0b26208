"""Who a message says it is from, and what about: read without making anything of the rest.

For large messages of those who have not shown who they are: their documents may take a hundred
times as much memory, and nobody answers for that. Everything here is said, nothing is verified.
"""

import msgspec
from msgspec import Struct

from nuska.transport.websocket.frames import RequestId


class _Body(Struct):
    queue_name: str = ""


class Letterhead(Struct):
    action: str
    headers: dict[str, str | list[str]]
    body: _Body = msgspec.field(default_factory=_Body)
    request_id: RequestId | None = None

    @property
    def queue(self) -> str:
        """Empty when it is about none."""
        return self.body.queue_name


_from_text = msgspec.json.Decoder(Letterhead).decode
_from_binary = msgspec.msgpack.Decoder(Letterhead).decode


def letterhead(data: bytes, *, binary: bool) -> Letterhead | None:
    """None of what is no request."""
    try:
        return _from_binary(data) if binary else _from_text(data)
    except (ValueError, RecursionError):
        return None
