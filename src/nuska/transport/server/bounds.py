"""The numbers that keep a connection from costing more than it should."""

from typing import Annotated

from msgspec import Meta, Struct

from nuska.domain.amounts import Seconds

MAX_HEAD = 32_768
"""Bytes of request line and headers."""
MAX_HEADERS = 128
"""Header lines of one request."""
MAX_PIPELINED = 32
"""Requests read ahead of their turn on one connection; then it is answered and closed."""
MAX_DRAINED = 16 * 1024 * 1024
"""Bytes of a body read to no purpose after its answer, so that the client sees the answer:
closing a socket with unread input would take it away."""
MAX_FRAMING = 65_536
"""Bytes of chunk sizes, extensions and trailers beyond ``FRAMING_PER_BYTE`` a body byte."""
FRAMING_PER_BYTE = 16
MAX_UNSENT = 256 * 1024 * 1024
"""Bytes of answers that clients do not read, over all connections; beyond it those that have
not been reading for longest are dropped before their time."""
MAX_UNFINISHED = 128 * 1024 * 1024
"""Bytes of WebSocket messages that clients have begun and not finished, over all connections;
beyond it connections are closed, those first of which nobody knows who they are."""
UNPACKED_AT_ONCE = 1024
"""Bytes of compressed input; a thousand times as much may come out of it."""
MAX_IN_HAND = 4 * 1024 * 1024
"""Bytes in memory of the requests of one WebSocket connection that are carried out at a time."""
MAX_IN_HAND_OF_ALL = 128 * 1024 * 1024
"""The same of all connections; beyond it nothing that is larger than ``LIGHT`` is read until
others have been answered."""
LIGHT = 1024
"""Bytes of a WebSocket message that is read whatever else is in memory."""
ROOM_WITHIN = 10.0
"""Seconds that a message waits for there to be room; then its connection is closed."""
FIRST_WITHIN = 2.0
"""Seconds that a server which stops leaves a new connection for its first request: whoever has
just connected has sent one, and could not know whether it was carried out."""
LINGER = 5.0
"""Seconds for which input is still taken (and thrown away) after the last answer."""


class Bounds(Struct, frozen=True, kw_only=True):
    """What an operator may change: table ``[server]`` of the settings."""

    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            description="Open connections of one process; one more is answered 503 and closed.",
        ),
    ] = 10_000
    head_timeout: Annotated[
        Seconds, Meta(description="From a request's first byte to the end of its head, seconds.")
    ] = 10.0
    body_timeout: Annotated[
        Seconds,
        Meta(
            description="From the end of a request's head to the end of its body; of a WebSocket "
            "message from its beginning to its end."
        ),
    ] = 60.0
    idle_timeout: Annotated[
        Seconds, Meta(description="A connection without a request is closed after this.")
    ] = 75.0
    send_timeout: Annotated[
        Seconds, Meta(description="A client that does not read its answer is dropped after this.")
    ] = 60.0
    stop_timeout: Annotated[
        Seconds, Meta(description="How long a stop waits for the requests in flight.")
    ] = 10.0
