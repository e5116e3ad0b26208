"""What a project may have, and how fast it may go: numbers, by the same names everywhere.

The names below are those of the API, of the command line, and in what a refusal says. Here is no
counting: what is stored is measured, and how fast somebody goes is told, in ``core/``.
"""

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

Limit = int | None
"""None: no limit."""

REQUESTS, MESSAGES_POSTED = "requests_per_second", "messages_per_second"
RATES = (REQUESTS, MESSAGES_POSTED)
"""Of ``Quota``: how fast. Such a limit is at least 1."""
STOCK = ("queues", "messages", "bytes", "subscriptions", "claims")
"""Of ``Quota``: what there is at a time."""
MAX_QUOTA = 10**15
"""The largest of all limits: what is more is a mistake."""


class Quota(Struct, frozen=True, kw_only=True):
    """The limits of a project."""

    queues: Limit = None
    """Queues and topics that there are."""
    messages: Limit = None
    """Messages stored in all of them."""
    bytes: Limit = None
    """Bytes of these messages' bodies, as they are kept."""
    subscriptions: Limit = None
    claims: Limit = None
    """Live claims."""
    connections: Limit = None
    """WebSocket connections to one process."""
    listeners: Limit = None
    """Live listeners (subscriptions of connections, event streams) in one process."""
    requests_per_second: Limit = None
    messages_per_second: Limit = None
    """Messages posted."""
    mails_per_day: Limit = None
    """Addresses that mail is sent to."""


class Override(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said about one project; what was not said is as for all.

    Also what is stored of it: a limit that a later version has added, and this one does not know,
    is passed over. Whoever says something is held to ``NAMES`` before (``transport/wire``).
    """

    queues: Limit | UnsetType = UNSET
    messages: Limit | UnsetType = UNSET
    bytes: Limit | UnsetType = UNSET
    subscriptions: Limit | UnsetType = UNSET
    claims: Limit | UnsetType = UNSET
    connections: Limit | UnsetType = UNSET
    listeners: Limit | UnsetType = UNSET
    requests_per_second: Limit | UnsetType = UNSET
    messages_per_second: Limit | UnsetType = UNSET
    mails_per_day: Limit | UnsetType = UNSET

    @property
    def said(self) -> dict[str, Limit]:
        """The limits that it names."""
        return {name: limit for name, limit in asdict(self).items() if limit is not UNSET}

    def over(self, quota: Quota) -> Quota:
        """``quota`` with what this says in place of the same there."""
        return replace(quota, **self.said)


NAMES: tuple[str, ...] = Quota.__struct_fields__


def limits_any(quota: Quota, names: tuple[str, ...]) -> bool:
    """Whether one of these has a limit."""
    return any(getattr(quota, name) is not None for name in names)


def least(name: str) -> int:
    """The smallest that the limit of this name may be: a rate of nothing never comes round."""
    return 1 if name in RATES else 0
