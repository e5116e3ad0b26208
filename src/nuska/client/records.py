"""What the client takes and gives: plain frozen records, in the API's own units and names.

Times are whole seconds, as on the wire. Nothing here talks to a server.
"""

from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import force_setattr

Metadata = dict[str, Any]
"""A queue's metadata: a free-form JSON object; keys that start with ``_`` are reserved."""


class NewMessage(Struct, frozen=True, kw_only=True):
    """A message to post. What is None is left to the queue's defaults."""

    body: Any
    """Any JSON value, None included."""
    ttl: int | None = None
    """Seconds it lives."""
    delay: int | None = None
    """Seconds before it can be claimed; counts only on a queue with a default delay."""
    attributes: dict[str, Any] | None = None
    """Data about the message, shown only to readers that ask for it."""


class Message(Struct, frozen=True, kw_only=True):
    """A message as the server shows it."""

    id: str
    body: Any
    ttl: int
    """Seconds it lives, counted from its creation; what a claim extended it to, if one did."""
    age: int
    """Seconds since its creation."""
    href: str = ""
    """Its path on the server; a popped message has none any more."""
    claim_id: str | None = None
    """The claim it is in, as far as this answer tells."""
    claim_count: int | None = None
    """How often it was handed out; told only of popped messages."""
    checksum: str | None = None
    attributes: dict[str, Any] | None = None
    """None unless asked for, or when it has none."""
    dead_letter: dict[str, Any] | None = None
    """Why it is in a dead-letter queue, told together with the attributes."""
    delay: int | None = None
    """Seconds until it can be claimed, while it is delayed; told together with the attributes."""

    def __post_init__(self) -> None:
        _, found, claim_id = self.href.rpartition("?claim_id=")
        if found and self.claim_id is None:
            force_setattr(self, "claim_id", claim_id)


class RawMessage(Struct, frozen=True, kw_only=True):
    """A message as the server shows it, with what people put into it as the JSON text it is."""

    id: str
    body: Raw
    ttl: int
    age: int
    href: str = ""
    delay: int | None = None
    attributes: Raw | UnsetType = UNSET
    dead_letter: Raw | UnsetType = UNSET

    @property
    def claimed(self) -> bool:
        """Whether it was in a claim."""
        return "?claim_id=" in self.href


class QueueEntry(Struct, frozen=True, kw_only=True):
    """A queue as a list of queues shows it."""

    name: str
    href: str = ""
    metadata: Metadata | None = None
    """None unless the list was asked for details."""


class Landmark(Struct, frozen=True, kw_only=True):
    """The oldest or newest message of a queue."""

    href: str
    age: int
    created: str
    """``YYYY-MM-DDTHH:MM:SSZ``"""

    @property
    def id(self) -> str:
        return self.href.rpartition("/")[2].partition("?")[0]


class Stats(Struct, frozen=True, kw_only=True):
    """How many messages a queue holds."""

    free: int
    """Not in a claim; delayed ones included."""
    claimed: int
    total: int
    oldest: Landmark | None = None
    newest: Landmark | None = None


class Claim(Struct, frozen=True, kw_only=True):
    """A claim as the server shows it."""

    id: str
    ttl: int
    """Seconds it lives, counted from its creation or last renewal."""
    age: int
    messages: list[Message]
    """Those of its messages that still exist."""
