"""Who did what, from where, and with which outcome."""

from collections.abc import Callable

from msgspec import Struct

from nuska.interfaces.identity import Caller

MESSAGES = frozenset(
    {
        "messages:create",
        "messages:delete",
        "messages:delete_all",
        "claims:create",
        "claims:update",
        "claims:delete",
    }
)
"""What happens all the time, and is written down only if asked for."""


class Deed(Struct, frozen=True, kw_only=True):
    """One request that changed something, or was refused. No secrets: only who and what."""

    action: str
    """The permission that it needed; empty where it came to none."""
    changes: bool
    """Whether it would change something."""
    refused: bool
    """Whether it was not allowed."""
    target: str
    """The path, or on a WebSocket the action's name and the queue's."""
    method: str
    status: int
    request_id: str
    source: str
    """The address that it came from."""
    caller: Caller | None
    """None where nobody has been made out."""

    @property
    def outcome(self) -> str:
        if self.refused:
            return "refused"
        return "done" if self.status < 400 else "failed"


Audit = Callable[[Deed], None]
"""Told of every request that may be worth a line; must not fail."""
