"""The rows about what has become of deliveries: additions to Zaqar's API."""

from nuska.core.deliveries import LONGEST_SINCE, MOST_ATTEMPTS
from nuska.transport.http import deliveries
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.table.rows import MARKER, QUEUE_PATH, Operation, Route, limit

_SUBSCRIPTION = f"{QUEUE_PATH}/subscriptions/{{subscriptions_id}}"
_SINCE = Parameter(
    "since",
    Kind.INTEGER,
    "How many seconds to look back; an hour, unless it is given.",
    lowest=0,
    highest=lambda _: LONGEST_SINCE,
)

ATTEMPTS = Route(
    f"{_SUBSCRIPTION}/attempts",
    (
        Operation(
            method="GET",
            handler=deliveries.list_attempts,
            name="listAttempts",
            summary="What was tried to tell a subscriber, oldest first.",
            action="subscription:get",
            query=(_SINCE, MARKER, limit(lambda _: MOST_ATTEMPTS)),
            answers={200: "AttemptList"},
            refusals=(404,),
        ),
    ),
    adds=True,
)

STANDING = Route(
    f"{_SUBSCRIPTION}/stats",
    (
        Operation(
            method="GET",
            handler=deliveries.show_standing,
            name="subscriptionStats",
            summary="How it goes with telling a subscriber: rate of success, breaker, state.",
            action="subscription:get",
            query=(_SINCE,),
            answers={200: "Standing"},
            refusals=(404,),
        ),
    ),
    adds=True,
)

TRIAL = Route(
    f"{_SUBSCRIPTION}/test",
    (
        Operation(
            method="POST",
            handler=deliveries.try_out,
            name="testSubscription",
            summary="Have a message of the service sent once; attempts show what came of it.",
            action="subscription:update",
            answers={202: "Trial"},
            refusals=(404, 409),
        ),
    ),
    adds=True,
)

REPLAY = Route(
    f"{_SUBSCRIPTION}/replay",
    (
        Operation(
            method="POST",
            handler=deliveries.replay,
            name="replaySubscription",
            summary="Tell a subscriber again of what was posted lately, as far as it is kept.",
            action="subscription:update",
            body="Replay",
            body_required=True,
            answers={204: None},
            refusals=(404,),
        ),
    ),
    adds=True,
)
