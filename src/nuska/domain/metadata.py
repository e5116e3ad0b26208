"""What a queue's metadata may say, what it means, and how it is changed.

Metadata is a free-form JSON object. Keys that start with ``_`` are reserved by convention:
those of the table below have a type, a range and an effect (contract http-v2 §2.1), unknown
ones are stored as they are. ``null`` means "not set" everywhere.

Nothing here stores or reads anything; the JSON-patch rules are http-v2 §2.5.
"""

from collections.abc import Callable, Collection

from msgspec import Struct

from nuska.domain.claims import DeadLetterRule
from nuska.domain.errors import Conflict, InvalidBody, InvalidInput
from nuska.domain.limits import MAX_QUEUE_NAME, MIN_MESSAGE_TTL, Limits
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, seconds
from nuska.domain.queues import Metadata
from nuska.domain.retries import KEY as RETRY_POLICY_KEY
from nuska.domain.retries import parse_retry_policy

MAX_POST_SIZE_KEY = "_max_messages_post_size"
MESSAGE_TTL_KEY = "_default_message_ttl"
MESSAGE_DELAY_KEY = "_default_message_delay"
DEAD_LETTER_QUEUE_KEY = "_dead_letter_queue"
DEAD_LETTER_TTL_KEY = "_dead_letter_queue_messages_ttl"
MAX_CLAIMS_KEY = "_max_claim_count"
ENCRYPT_KEY = "_enable_encrypt_messages"
FLAVOR_KEY = "_flavor"
DURABILITY_KEY = "_durability"
RELAXED = "relaxed"
FULL = "full"

MAX_FLAVOR_NAME = 255
"""Characters."""

_QUEUE_NAME_CHARACTERS = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-."
)
_SMALLEST_INTEGER = -(2**63)
_LARGEST_INTEGER = 2**63 - 1


def is_queue_name(text: str) -> bool:
    """1 to 64 characters of ``A-Z a-z 0-9 _ - .`` and nothing else, not even a newline."""
    return 0 < len(text) <= MAX_QUEUE_NAME and _QUEUE_NAME_CHARACTERS.issuperset(text)


def may_occur_in_queue_name(text: str) -> bool:
    """Whether a queue name could contain ``text``."""
    return _QUEUE_NAME_CHARACTERS.issuperset(text)


# Reserved keys


class ReservedKey(Struct, frozen=True):
    """One row: who checks a value that is not null, and what readers see when it is unset."""

    check: Callable[[str, object, Limits], None]
    shown: bool = False
    """Readers always see the key, with its default when it is unset."""
    default: Callable[[Limits], object] = lambda _: None


def _post_size(key: str, value: object, limits: Limits) -> None:
    _integer_within(key, value, 1, limits.max_messages_post_size)


def _ttl(key: str, value: object, limits: Limits) -> None:
    _integer_within(key, value, MIN_MESSAGE_TTL, limits.max_message_ttl)


def _delay(key: str, value: object, limits: Limits) -> None:
    _integer_within(key, value, 0, limits.max_message_delay)


def _any_integer(key: str, value: object, _: Limits) -> None:
    _integer_within(key, value, _SMALLEST_INTEGER, _LARGEST_INTEGER)


def _name_of_a_queue(key: str, value: object, _: Limits) -> None:
    if not isinstance(value, str) or not is_queue_name(value):
        raise InvalidInput(
            f"The value of {key} must be null or the name of a queue: 1 to {MAX_QUEUE_NAME} "
            "letters, digits, underscores, hyphens or dots."
        )


def _true_or_false(key: str, value: object, _: Limits) -> None:
    if not isinstance(value, bool):
        raise InvalidInput(f"The value of {key} must be true or false.")


def _name_of_a_flavor(key: str, value: object, _: Limits) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FLAVOR_NAME:
        raise InvalidInput(
            f"The value of {key} must be the name of a flavor, 1 to {MAX_FLAVOR_NAME} characters."
        )


def _durability(key: str, value: object, _: Limits) -> None:
    if value not in (RELAXED, FULL):
        raise InvalidInput(f'The value of {key} must be "{RELAXED}" or "{FULL}".')


def _retry_policy(key: str, value: object, _: Limits) -> None:
    parse_retry_policy(value, key)


RESERVED: dict[str, ReservedKey] = {
    MAX_POST_SIZE_KEY: ReservedKey(_post_size, True, lambda limits: limits.max_messages_post_size),
    MESSAGE_TTL_KEY: ReservedKey(_ttl, True, lambda limits: limits.default_message_ttl),
    MESSAGE_DELAY_KEY: ReservedKey(_delay, True, lambda limits: limits.default_message_delay),
    DEAD_LETTER_QUEUE_KEY: ReservedKey(_name_of_a_queue, True),
    DEAD_LETTER_TTL_KEY: ReservedKey(_ttl, True),
    MAX_CLAIMS_KEY: ReservedKey(_any_integer, True),
    ENCRYPT_KEY: ReservedKey(_true_or_false, True, lambda _: False),
    FLAVOR_KEY: ReservedKey(_name_of_a_flavor),
    RETRY_POLICY_KEY: ReservedKey(_retry_policy),
    DURABILITY_KEY: ReservedKey(_durability),
}

SHOWN = tuple(key for key, row in RESERVED.items() if row.shown)
"""Those that readers of a queue always see."""


def check_metadata(metadata: Metadata, limits: Limits) -> None:
    """Raise ``InvalidInput`` naming the first reserved key whose value is not allowed."""
    for key, row in RESERVED.items():
        value = metadata.get(key)
        if value is not None:
            row.check(key, value, limits)


def with_defaults(metadata: Metadata, limits: Limits, shown: Collection[str] = SHOWN) -> Metadata:
    """Metadata as readers see it: defaults stand in for shown keys that are absent or null."""
    seen = dict(metadata)
    for key in shown:
        if seen.get(key) is None:
            seen[key] = RESERVED[key].default(limits)
    return seen


def is_relaxed(metadata: Metadata) -> bool:
    """Whether writes to the queue are acknowledged before they are synced (D18)."""
    return metadata.get(DURABILITY_KEY) == RELAXED


def is_encrypted(metadata: Metadata) -> bool:
    """Whether bodies are sealed before they are stored."""
    return metadata.get(ENCRYPT_KEY) is True


# What the settings mean


class QueueSettings(Struct, frozen=True, kw_only=True):
    """The effect of a queue's metadata on its messages."""

    default_ttl: Duration
    default_delay: Duration = Duration(0)
    """Not zero makes it a delay queue: only there a message's own delay counts."""
    max_post_size: int
    """Bytes of one post's body."""
    dead_letters: DeadLetterRule | None = None
    encrypted: bool = False
    """Bodies are sealed before they are stored."""


def settings_of(queue: QueueRef, metadata: Metadata, limits: Limits) -> QueueSettings:
    """What ``metadata`` means under ``limits``, which may have shrunk since it was stored."""
    ttl = _whole(metadata, MESSAGE_TTL_KEY, limits.default_message_ttl)
    delay = _whole(metadata, MESSAGE_DELAY_KEY, 0)
    size = _whole(metadata, MAX_POST_SIZE_KEY, limits.max_messages_post_size)
    return QueueSettings(
        default_ttl=seconds(min(ttl, limits.max_message_ttl)),
        default_delay=seconds(min(delay, limits.max_message_delay)),
        max_post_size=min(size, limits.max_messages_post_size),
        dead_letters=_dead_letter_rule(queue, metadata),
        encrypted=is_encrypted(metadata),
    )


def _dead_letter_rule(queue: QueueRef, metadata: Metadata) -> DeadLetterRule | None:
    """Both keys make the rule; either one null or absent means none (C8)."""
    target = metadata.get(DEAD_LETTER_QUEUE_KEY)
    claims = metadata.get(MAX_CLAIMS_KEY)
    if not isinstance(target, str) or not isinstance(claims, int):
        return None
    ttl = metadata.get(DEAD_LETTER_TTL_KEY)
    return DeadLetterRule(
        max_claims=claims,
        queue=QueueRef(queue.project, target),
        ttl=seconds(ttl) if isinstance(ttl, int) else None,
    )


def _whole(metadata: Metadata, key: str, default: int) -> int:
    value = metadata.get(key)
    return value if isinstance(value, int) else default


# Changes


def apply_patch(metadata: Metadata, operations: object) -> Metadata:
    """The metadata after a JSON patch; ``metadata`` itself stays as it is.

    Operations apply in order, and all or none: ``InvalidBody`` for a malformed one,
    ``Conflict`` for ``replace`` or ``remove`` of a key that is neither stored nor one of
    the seven that readers always see.
    """
    if not isinstance(operations, list):
        raise InvalidBody("A metadata patch must be a JSON array of operations.")
    changed = dict(metadata)
    for number, operation in enumerate(operations):
        _apply(changed, operation, f"Operation {number} of the patch")
    return changed


def _apply(metadata: Metadata, operation: object, where: str) -> None:
    if not isinstance(operation, dict):
        raise InvalidBody(f"{where} must be a JSON object.")
    op = operation.get("op")
    if op not in ("add", "replace", "remove"):
        raise InvalidBody(f'{where}: "op" must be "add", "replace" or "remove".')
    key = _key_of(operation.get("path"), where)
    if op != "remove" and "value" not in operation:
        raise InvalidBody(f'{where}: "{op}" needs a "value".')
    if op != "add" and key not in metadata and key not in SHOWN:
        raise Conflict(f"{where}: can't {op} {key!r}, which is not in the queue's metadata.")
    if op == "remove":
        metadata.pop(key, None)
    else:
        metadata[key] = operation["value"]


def _key_of(path: object, where: str) -> str:
    """The key named by a JSON pointer of exactly two segments, ``/metadata/<key>``."""
    segments = path.split("/") if isinstance(path, str) else []
    if len(segments) != 3 or segments[0] or segments[1].lower() != "metadata":
        raise InvalidBody(f'{where}: "path" must be "/metadata/" and one key.')
    key = segments[2]
    if "~" in key.replace("~0", "").replace("~1", ""):
        raise InvalidBody(f'{where}: "~" in a "path" is written "~0", and "/" is "~1".')
    return key.replace("~1", "/").replace("~0", "~")


def _integer_within(what: str, value: object, lowest: int, highest: int) -> None:
    # A boolean passes as the integer it is and then meets the range (contract README §12).
    if not isinstance(value, int):
        raise InvalidInput(f"The value of {what} must be an integer.")
    if not lowest <= value <= highest:
        raise InvalidInput(
            f"The value of {what} must be from {lowest} to {highest}, not {int(value)}."
        )
