"""Who a request says it comes from, and to which queue it goes: what every transport checks."""

from functools import lru_cache

from nuska.domain.errors import InvalidHeader
from nuska.domain.limits import MAX_PROJECT_ID, MAX_QUEUE_NAME, Limits
from nuska.domain.metadata import is_queue_name

UUID_BYTES = 16
LONGEST_REMEMBERED = 256
"""Bytes of a header whose reading is remembered; a longer one is read anew every time, so that
nobody can fill the memory with headers."""


def client_of(header: bytes, limits: Limits) -> bytes:
    """The comparable form of a ``Client-ID``."""
    if limits.client_id_uuid_safe:
        client = uuid_bytes(header)
        if client is None:
            raise InvalidHeader("Wrong UUID value", "The header Client-ID must be a UUID.")
        return client
    lowest, highest = limits.min_length_client_id, limits.max_length_client_id
    if not lowest <= len(header) <= highest:
        raise InvalidHeader(
            "Wrong Client-ID length",
            f"The header Client-ID must have from {lowest} to {highest} characters.",
        )
    return uuid_bytes(header) or header


def uuid_bytes(text: bytes) -> bytes | None:
    """The 16 bytes of a UUID in any spelling that Python's own parser takes, else None."""
    return _uuid_bytes(text) if len(text) <= LONGEST_REMEMBERED else None


@lru_cache(maxsize=4096)
def _uuid_bytes(text: bytes) -> bytes | None:
    digits = text.replace(b"urn:", b"").replace(b"uuid:", b"").strip(b"{}").replace(b"-", b"")
    if len(digits) != 2 * UUID_BYTES:
        return None
    try:
        value = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return None
    return value if len(value) == UUID_BYTES else None


_is_remembered_name = lru_cache(maxsize=4096)(is_queue_name)
"""Asked only for names that are not too long, so what is remembered is small."""


def check_queue(name: str, project: str) -> None:
    """Raise ``InvalidHeader`` for what cannot be the name of a queue or topic in a project."""
    if len(name) > MAX_QUEUE_NAME or not _is_remembered_name(name):
        raise InvalidHeader(
            "Invalid queue identification",
            f"The name of a queue must be 1 to {MAX_QUEUE_NAME} letters, digits, underscores, "
            "hyphens or dots.",
        )

    if len(project) > MAX_PROJECT_ID:
        raise InvalidHeader(
            "Invalid queue identification",
            f"The project id must not be longer than {MAX_PROJECT_ID} characters.",
        )
