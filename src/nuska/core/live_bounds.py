"""How much listening one process takes on, and how long what was announced can be caught up with:
an operator's choice."""

from typing import Annotated

from msgspec import Meta, Struct

from nuska.domain.amounts import MIB


class LiveBounds(Struct, frozen=True, kw_only=True):
    """The table ``[live]`` of the settings."""

    max_listeners: Annotated[
        int, Meta(ge=1, description="Live listeners of one process (connections and streams).")
    ] = 20_000
    max_listeners_per_project: Annotated[
        int, Meta(ge=1, description="Of these, of one project.")
    ] = 10_000
    max_streams_per_address: Annotated[
        int,
        Meta(
            ge=1,
            description="Event streams of one process that are open to one network address.",
        ),
    ] = 10_000
    max_followed_queues: Annotated[
        int, Meta(ge=1, description="Queues that the listeners of one process listen to.")
    ] = 5_000
    max_followed_queues_per_project: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Of these, of one project. Not set means four fifths of "
            "`max_followed_queues`."
        ),
    ] = None
    live_kept: Annotated[
        int,
        Meta(
            ge=10,
            le=86_400,
            description="Seconds for which what was announced can be caught up with, while "
            "somebody listens and after the last one has gone.",
        ),
    ] = 300
    live_kept_messages: Annotated[
        int, Meta(ge=1_000, description="Of one queue, no more than about so many messages.")
    ] = 100_000
    live_kept_bytes: Annotated[
        int, Meta(ge=MIB, description="Of one queue, no more than about so many bytes.")
    ] = 64 * MIB
    stream_heartbeat: Annotated[
        float,
        Meta(gt=0, le=300, description="Seconds between two signs of life of an event stream."),
    ] = 15.0
    stream_unsent: Annotated[
        int,
        Meta(
            ge=65_536,
            description="Bytes that wait for the client of an event stream; with more waiting "
            "it is told of nothing further until it has read.",
        ),
    ] = MIB

    @property
    def share_of_followed(self) -> int:
        """Queues that the listeners of one project listen to."""
        said = self.max_followed_queues_per_project
        return -(-self.max_followed_queues * 4 // 5) if said is None else said
