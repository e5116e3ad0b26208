"""Who is calling, and how that is found out.

A transport collects ``Credentials``; an ``Identity`` (or, for pre-signed requests, the desk in
``core/signatures.py``) turns them into something ``Verified``; ``core/access.py`` makes the
``Caller`` from that, and is the only one who says what he may do.
"""

from collections.abc import Awaitable
from typing import Protocol

from msgspec import Struct

from nuska.domain.moments import Moment


class Credentials(Struct, frozen=True, gc=False, kw_only=True):
    """What a request shows, whichever way it came. Never printed."""

    token: str | None = None
    """A Keystone token or a JWT: ``X-Auth-Token``, or what ``Authorization: Bearer`` holds."""
    key: str | None = None
    """An API key."""
    project: str | None = None
    """What the caller says is its project; believed in open mode only."""
    roles: str = ""
    """What the caller says are its roles, with commas; believed in open mode only."""

    def __repr__(self) -> str:
        return "Credentials(…)"


class Grant(Struct, frozen=True, gc=False, kw_only=True):
    """What a narrow credential leaves of what its project could do. None: all of it."""

    id: str = ""
    """By which it can be listed and revoked; empty for one that nobody keeps."""
    actions: frozenset[str] | None = None
    """Permissions by their names in ``core/access.py``."""
    queues: frozenset[str] | None = None
    """Exact names. Where these or ``topics`` are named, a call about neither is not allowed."""
    topics: frozenset[str] | None = None
    max_body: int | None = None
    """Bytes of one post."""
    max_batch: int | None = None
    """Messages in one post."""
    counted: bool = False
    """There are so many uses of it: each is counted before the request is carried out."""
    delegated: bool = False
    """Whoever made it was allowed its actions then: the bearer is not asked for roles."""


class Verified(Struct, frozen=True, gc=False, kw_only=True):
    """What credentials prove."""

    project: str | None
    """None when they name none, which a call that needs one is refused for."""
    user: str = ""
    """An id for the records, never a permission."""
    roles: frozenset[str] = frozenset()
    """In lower case, as oslo.policy compares them."""
    grant: Grant | None = None
    expires_at: Moment | None = None
    """When it is over; None for what does not end by itself."""


class Caller(Struct, frozen=True, gc=False):
    """Whom a request comes from. Made by ``Access.caller`` from what was verified."""

    project: str
    roles: frozenset[str] = frozenset()
    client: bytes = b""
    """Comparable form of the Client-ID: a UUID's 16 bytes, else the text in UTF-8."""
    user: str = ""
    grant: Grant | None = None
    permitted: frozenset[str] | None = None
    """What the policy lets him do, by name; None: what the default policy does."""
    expires_at: Moment | None = None
    """When what he has shown is over: a connection that lasts ends then."""


class Watch(Protocol):
    """What is known of credentials that were accepted, for whatever lasts longer than a request."""

    def look(self) -> Verified | None:
        """What they prove by now, as far as that is known, without waiting. What is due to be
        asked again is asked in the background: look every few seconds.

        None: for longer than an answer is believed nobody could say. Until somebody can, nothing
        may be done for, or told to, who has shown them. Raises ``NotAuthenticated`` when they
        hold no more.
        """
        ...


class Identity(Protocol):
    believes_claims: bool
    """Open mode: the caller says who it is, and ``identify`` answers at once. Otherwise every
    request must show something, but for those about nobody's data."""

    def identify(self, credentials: Credentials) -> Verified | Awaitable[Verified]:
        """What the credentials prove; awaitable only when somebody else must be asked, so that
        what is remembered costs no turn of the event loop.

        Raises ``NotAuthenticated`` when there are none or they do not hold, ``Unavailable`` when
        that cannot be found out now.
        """
        ...

    def watch(self, credentials: Credentials, verified: Verified) -> Watch:
        """From now on, what credentials prove that have just been identified as ``verified``."""
        ...
