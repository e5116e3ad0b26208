"""The shape of a retry policy, which queues and subscriptions have alike."""

from nuska.domain.retries import BACKOFF_FUNCTIONS, BOUNDS
from nuska.transport.http.schemas.shapes import FLAG, Schema, an_object, whole


def retry_policy() -> Schema:
    counts: dict[str, Schema] = {key: whole(0, highest) for key, highest in BOUNDS.items()}
    counts["maximum_delay"]["description"] = "At least 10 s above minimum_delay."
    return an_object(
        **counts,
        retry_backoff_function={"enum": list(BACKOFF_FUNCTIONS)},
        ignore_subscription_override=FLAG,
    )
