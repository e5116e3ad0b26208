"""The row about event streams: an addition to Zaqar's API."""

from nuska.transport.http import streams
from nuska.transport.http.credentials import PROJECT_PARAMETER
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.table.rows import QUEUE_PATH, Admits, Operation, Route
from nuska.transport.wire.events import CONTENT_TYPE

STREAM = Route(
    f"{QUEUE_PATH}/messages/stream",
    (
        Operation(
            method="GET",
            handler=streams.stream_messages,
            name="streamMessages",
            summary="Messages as they become available, as server-sent events.",
            action="messages:get_all",
            query=(
                Parameter(
                    "last_event_id",
                    Kind.TEXT,
                    "Continue after this event; the header Last-Event-ID goes first.",
                ),
                Parameter(
                    "marker", Kind.TEXT, "Continue after this: a marker, or the id of a message."
                ),
                Parameter("filter", Kind.JSON, "Only messages that this filter lets through."),
                Parameter("attributes", Kind.BOOLEAN, "Show the attributes of messages."),
                Parameter(
                    PROJECT_PARAMETER,
                    Kind.TEXT,
                    "The project, where the header X-Project-Id cannot be sent; open servers only.",
                ),
            ),
            answers={200: "EventStream"},
            answer_type=CONTENT_TYPE,
        ),
    ),
    admits=Admits.LISTENERS,
    adds=True,
)
