"""The least value and the meaning of each of ``Limits``, which knows neither TOML nor ranges."""

from nuska.domain import limits as bounds

LIMIT_RANGES: dict[str, tuple[int, str]] = {
    "max_queues_per_page": (1, "Queues in one page of a list."),
    "max_messages_per_page": (1, "Messages in one page, and ids in one get or delete."),
    "max_messages_per_claim_or_pop": (1, "Messages that one claim or pop takes."),
    "max_queue_metadata": (2, "Bytes of a queue's metadata document."),
    "max_messages_post_size": (2, "Bytes of one post."),
    "max_message_ttl": (bounds.MIN_MESSAGE_TTL, "Seconds a message may live."),
    "max_message_delay": (0, "Seconds a message may be held back."),
    "max_claim_ttl": (bounds.MIN_CLAIM_TTL, "Seconds a claim may last."),
    "max_claim_grace": (bounds.MIN_CLAIM_GRACE, "Seconds of life after a claim's end."),
    "default_message_ttl": (bounds.MIN_MESSAGE_TTL, "Seconds, when neither post nor queue says."),
    "default_message_delay": (0, "Seconds; shown only, it makes no queue a delay queue."),
    "default_claim_ttl": (bounds.MIN_CLAIM_TTL, "Seconds, when a claim names none."),
    "default_claim_grace": (bounds.MIN_CLAIM_GRACE, "Seconds, when a claim names none."),
    "max_wait": (0, "Longest wait of a long poll, seconds; longer ones are cut to it."),
    "message_delete_with_claim_id": (0, "A bulk delete must name the claims that hold them."),
    "client_id_uuid_safe": (0, "`strict`: Client-ID must be a UUID; `off`: any text will do."),
    "min_length_client_id": (1, "Characters, with `off`."),
    "max_length_client_id": (1, "Characters, with `off`."),
    "enable_checksum": (0, "Add `checksum` to messages."),
    "admin_mode": (
        0,
        "Serve the operator's routes (health, pools, flavors) to callers with the admin role.",
    ),
    "pooling": (0, "Place queues over pools; see [Pools](pools.md)."),
    "max_subscriptions_per_page": (1, "Subscriptions in one page of a list."),
    "default_subscription_ttl": (
        bounds.MIN_SUBSCRIPTION_TTL,
        "Seconds, when a subscription names none.",
    ),
    "max_pools_per_page": (1, "Pools in one page of a list."),
    "max_flavors_per_page": (1, "Flavors in one page of a list."),
}
"""The least value and the meaning of each of ``Limits``, which knows neither TOML nor ranges."""

TOP_LEVEL_LIMITS = frozenset({"enable_checksum", "admin_mode", "pooling"})
"""Zaqar keeps these in ``[DEFAULT]``; in our file they stand at the top, too."""

PAIRS_IN_ORDER = (
    ("default_message_ttl", "max_message_ttl"),
    ("default_message_delay", "max_message_delay"),
    ("default_claim_ttl", "max_claim_ttl"),
    ("default_claim_grace", "max_claim_grace"),
    ("min_length_client_id", "max_length_client_id"),
)
"""The first of each pair may not exceed the second."""
