"""The numbers that keep WebSocket connections from costing more than they should."""

from typing import Annotated

from msgspec import Meta, Struct

from nuska.domain.amounts import Count, Seconds


class SocketBounds(Struct, frozen=True, kw_only=True):
    """What an operator may change: table ``[websocket]`` of the settings."""

    ping_interval: Annotated[
        Seconds, Meta(description="A connection that has said nothing for this long is pinged.")
    ] = 30.0
    ping_timeout: Annotated[
        Seconds, Meta(description="A connection that does not answer a ping is closed after this.")
    ] = 20.0
    websocket_authenticate_timeout: Annotated[
        Seconds,
        Meta(
            description="Where callers must prove who they are: a connection on which nobody has "
            "done so is closed after this."
        ),
    ] = 30.0
    websocket_idle_timeout: Annotated[
        Seconds,
        Meta(description="A connection without a subscription and without requests is closed."),
    ] = 3600.0
    websocket_slow_timeout: Annotated[
        Seconds,
        Meta(
            description="A subscribed connection is closed when its client has not read what was "
            "sent for this long."
        ),
    ] = 30.0
    max_websockets: Annotated[Count, Meta(description="WebSocket connections of one process.")] = (
        10_000
    )
    max_websockets_per_address: Annotated[
        Count,
        Meta(
            description="WebSocket connections from one address. Behind a proxy all of them come "
            "from the proxy's."
        ),
    ] = 1000
    max_websockets_per_project: Annotated[
        Count, Meta(description="WebSocket connections of one project, in one process.")
    ] = 10_000
    max_subscriptions_per_connection: Annotated[
        Count, Meta(description="Queues that one connection may be subscribed to.")
    ] = 100
    max_in_flight: Annotated[
        Count,
        Meta(description="Requests of one connection that are carried out at a time."),
    ] = 128
    max_outbox: Annotated[
        Count,
        Meta(
            description="Bytes that may wait for a client to read them; then it is not read from, "
            "and told of nothing new, until it has."
        ),
    ] = 262_144
    websocket_compression: Annotated[
        bool,
        Meta(
            description="Compress messages (`permessage-deflate`) for clients that offer to. Takes "
            "processor time for every connection's requests; pushes are compressed once for all."
        ),
    ] = False
