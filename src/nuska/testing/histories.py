"""What clients of a service that kept dying have seen, written down request by request.

``sent`` is before the first byte, ``ended`` when the answer had come or the connection had
broken. A request that is not ``known`` may have taken effect in between, or not at all.
"""

from msgspec import Struct


class Request(Struct, kw_only=True):
    sent: float
    ended: float = 0
    known: bool = False
    """It was answered, and with success."""


class Post(Request, kw_only=True):
    """One attempt to post."""

    queue: str
    bodies: list[str]
    """Each body is posted once on purpose; attempts at the same post share them."""
    ids: list[str] = []
    key: str | None = None
    """The Idempotency-Key."""


class Take(Request, kw_only=True):
    """A claim, or without ``claim_id`` a pop; an unknown one has no messages."""

    queue: str
    limit: int
    is_claim: bool
    claim_id: str = ""
    ttl: float = 0
    messages: list[tuple[str, str]] = []
    """Ids and bodies, in the order of the answer."""


class Renewal(Request, kw_only=True):
    claim_id: str
    ttl: float


class Release(Request, kw_only=True):
    claim_id: str


class Deletion(Request, kw_only=True):
    message_id: str


class Purge(Request, kw_only=True):
    queue: str


class Found(Struct, kw_only=True):
    """A message in the last walk through all queues."""

    queue: str
    id: str
    body: str


class History(Struct, kw_only=True):
    posts: list[Post] = []
    takes: list[Take] = []
    renewals: list[Renewal] = []
    releases: list[Release] = []
    deletions: list[Deletion] = []
    purges: list[Purge] = []
    found: list[Found] = []
    """In the order of the walk, queue by queue."""
