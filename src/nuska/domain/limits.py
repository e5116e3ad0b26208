"""Every limit of the API, with its default and its unit (contract http-v2 §1, config.md).

Limits live here and are enforced in ``core/`` and, where they are about the shape of a
document, in ``transport/wire/``. Stores know none of them.
"""

from msgspec import Struct

from nuska.domain.moments import Duration, seconds

MAX_PROJECT_ID = 256
"""Characters."""
MAX_QUEUE_NAME = 64
"""Characters of ``A-Z a-z 0-9 _ - .``"""
MAX_JSON_DEPTH = 100
"""Nested arrays and objects within one body."""
MIN_MESSAGE_TTL = 60
MIN_CLAIM_TTL = 60
MIN_CLAIM_GRACE = 60
MIN_SUBSCRIPTION_TTL = 60
DEFAULT_PAGE = 10
DEFAULT_CLAIM_LIMIT = 10
MAX_IDEMPOTENCY_KEY = 255
"""Printable ASCII characters."""
IDEMPOTENCY_TTL: Duration = seconds(600)
"""How long a post is remembered by its key."""
MAX_MESSAGES_PER_POST = 10_000
"""Zaqar has no such limit and its byte limit admits about 20 000 empty bodies; a bound on
one write keeps every other request's wait short."""
MAX_ATTRIBUTES = 16_384
"""Bytes of one message's ``attributes`` object."""
MAX_SUBSCRIBER = 2048
"""Characters of whom to tell: a URL, addresses of mail, the name of a queue."""
MAX_RECIPIENTS = 20
"""Addresses of one ``mailto:``."""
MAX_SUBSCRIPTION_OPTIONS = 32_768
"""Bytes of a subscription's options, as JSON."""
DEAD_LETTERS_PER_CLAIM = 100
"""Messages over their claim count that one claim moves away; it returns what it found by
then, so that one request never walks a whole backlog."""
DUE_PER_CLAIM = 100
"""Waiting messages that have become due which one claim or pop makes ready at least."""


class Limits(Struct, frozen=True, kw_only=True):
    """What an operator may change; named as in Zaqar's ``[transport]`` group. Seconds, bytes."""

    max_queues_per_page: int = 20
    max_messages_per_page: int = 20
    max_messages_per_claim_or_pop: int = 20
    max_queue_metadata: int = 65_536
    max_messages_post_size: int = 262_144
    max_message_ttl: int = 1_209_600
    max_message_delay: int = 900
    max_claim_ttl: int = 43_200
    max_claim_grace: int = 43_200
    default_message_ttl: int = 3600
    default_message_delay: int = 0
    default_claim_ttl: int = 300
    default_claim_grace: int = 60
    max_wait: int = 30
    """Longest ``wait`` of a long poll; longer ones are cut to this."""
    message_delete_with_claim_id: bool = False
    """A bulk delete must name the claims that hold the messages."""
    client_id_uuid_safe: bool = True
    """False accepts any Client-ID of the two lengths below (Zaqar's ``off``)."""
    min_length_client_id: int = 10
    max_length_client_id: int = 36
    enable_checksum: bool = False
    admin_mode: bool = False
    """Expose health, and, with pooling, pools and flavors."""
    pooling: bool = False
    """Place queues over the pools of a catalogue."""
    max_subscriptions_per_page: int = 20
    default_subscription_ttl: int = 3600
    max_pools_per_page: int = 20
    max_flavors_per_page: int = 20
