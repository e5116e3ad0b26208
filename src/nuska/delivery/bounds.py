"""How much is under way at once, and how long what has been is kept: an operator's choice."""

from typing import Annotated

from msgspec import Meta, Struct

from nuska.domain.amounts import MIB


class DeliveryBounds(Struct, frozen=True, kw_only=True):
    """The table ``[delivery]`` of the settings."""

    in_flight: Annotated[
        int, Meta(ge=2, description="Deliveries under way at once, of one process.")
    ] = 256
    in_flight_per_project: Annotated[
        int, Meta(ge=1, description="Of these, to subscribers of one project.")
    ] = 100
    in_flight_per_endpoint: Annotated[
        int,
        Meta(ge=1, description="Of these, to one scheme, host and port (or domain of addresses)."),
    ] = 10
    connect_timeout: Annotated[
        float, Meta(gt=0, le=60, description="Seconds for a connection to a subscriber.")
    ] = 5.0
    attempt_timeout: Annotated[
        float,
        Meta(gt=0, le=60, description="Seconds for one attempt, from the connection to the end."),
    ] = 15.0
    flush_interval: Annotated[
        float,
        Meta(
            ge=0.05,
            le=60,
            description="Seconds between two writings of what has been delivered; after a crash "
            "what was delivered in about that time is delivered again.",
        ),
    ] = 1.0
    announcements_kept: Annotated[
        int,
        Meta(ge=0, description="Seconds for which what was delivered stays ready for a replay."),
    ] = 300
    attempts_kept: Annotated[
        int, Meta(ge=60, description="Seconds for which attempts to deliver can be looked up.")
    ] = 86_400
    dead_letters_kept: Annotated[
        int,
        Meta(
            ge=60,
            description="Seconds for which what could not be delivered is kept, where its queue "
            "names no dead-letter queue.",
        ),
    ] = 1_209_600
    page_cache: Annotated[
        int, Meta(ge=MIB, description="Bytes of messages that wait to be delivered in memory.")
    ] = 32 * MIB
