"""Everything that can go wrong, as one small tree.

NuskaError
├── InvalidInput            the caller can fix the request
│   ├── InvalidBody         the request document itself
│   ├── InvalidParameter    a query value of the wrong type
│   ├── InvalidHeader       a header or a name in the path
│   └── NotTheClaim         a delete names a claim that does not hold the message
├── NotAuthenticated        who are you?
├── NotAllowed              known, but not entitled
│   ├── MessageClaimed      a delete of a message that is in a live claim
│   ├── OnlyPool            a delete of the only pool of a flavor
│   └── QuotaExceeded       the project has as much as it may have
├── NotFound                no such thing in this project
│   └── QueueMissing        a write that must not create its queue found none
├── Conflict                the request contradicts what is already stored
├── NotOffered              this process cannot do it at all; another one can
└── Unavailable             a dependency cannot answer now; retrying may help
    ├── QueueAway           the queue is being carried to another store
    ├── RateExceeded        the project goes faster than it may
    └── KeyMissing          an encryption key is not configured: only the operator can help

Transports translate these classes and nothing else; anything outside this tree
is a bug and is answered as one. ``title`` is the short name people search for
(contract README §7), the argument is the sentence that helps them.
"""

from typing import ClassVar


class NuskaError(Exception):
    """Base of every error the service raises on purpose."""

    title: ClassVar[str] = "Error"

    def __init__(self, description: str) -> None:
        super().__init__(description)
        self.description = description


class InvalidInput(NuskaError):
    """The caller can fix the request."""

    title = "Invalid API request"


class InvalidBody(InvalidInput):
    """The request document cannot be read as what it should be."""

    title = "Invalid request body"


class InvalidParameter(InvalidInput):
    """A query value has the wrong type."""

    title = "Invalid parameter"


class InvalidHeader(InvalidInput):
    """A header, or a name in the path, is missing or malformed."""

    def __init__(self, title: str, description: str) -> None:
        super().__init__(description)
        self.title = title  # type: ignore[misc]  # one class, a title per header


class NotTheClaim(InvalidInput):
    """The claim named by a delete is over, unknown, or does not hold the message."""

    title = "Unable to delete"


class NotAuthenticated(NuskaError):
    """The request carries no valid proof of who sent it."""

    title = "Unauthorized"

    def __init__(self, challenge: str = "", description: str = "") -> None:
        """``challenge``: what a valid proof is, as ``WWW-Authenticate`` says it; empty, until
        somebody who knows has said so."""
        super().__init__(description or "The request you have made requires authentication.")
        self.challenge = challenge


class NotAllowed(NuskaError):
    """The caller is known, and may not do this."""

    title = "Not authorized"


class MessageClaimed(NotAllowed):
    """The message is in a live claim that the request does not name."""

    title = "Unable to delete"


class OnlyPool(NotAllowed):
    """The pool is the only one of its flavor."""

    title = "Unable to delete"


class QuotaExceeded(NotAllowed):
    """The project has as much as its quota lets it have."""

    title = "Quota exceeded"

    def __init__(self, what: str, limit: int) -> None:
        """``what``: the limit's name in ``domain/quotas.py``."""
        super().__init__(f"The project's quota is used up: {what} is limited to {limit}.")
        self.what = what
        self.limit = limit


class NotFound(NuskaError):
    """Nothing of that name or id exists in the caller's project."""

    title = "Not found"


class QueueMissing(NotFound):
    """A write that must not create its queue found none. Never reaches a client."""

    def __init__(self) -> None:
        super().__init__("The queue does not exist.")


class Conflict(NuskaError):
    """The request contradicts what is already stored."""

    title = "Resource conflict"


class NotOffered(NuskaError):
    """This process cannot do it, however often it is asked; the sentence says who can."""

    title = "Not implemented"


class Unavailable(NuskaError):
    """A dependency cannot answer now; the same request may succeed later."""

    title = "Service temporarily unavailable"

    def __init__(self, description: str, *, retry_after: int | None = 1) -> None:
        super().__init__(description)
        self.retry_after = retry_after
        """Whole seconds after which a retry makes sense; None: it makes none, until somebody has
        done something about it."""


class QueueAway(Unavailable):
    """The queue is fenced: it is being carried to another store, or has been."""

    def __init__(self) -> None:
        super().__init__("The queue is being moved to another pool.")


class RateExceeded(Unavailable):
    """The project goes faster than its quota lets it."""

    def __init__(self, what: str, limit: int, *, retry_after: int = 1) -> None:
        """``what``: the limit's name in ``domain/quotas.py``."""
        super().__init__(
            f"The project is too fast: {what} is limited to {limit}.", retry_after=retry_after
        )
        self.what = what
        self.limit = limit


class KeyMissing(Unavailable):
    """What is encrypted, or is to be, needs a key that the operator has not configured."""

    title = "Encryption key missing"

    def __init__(self, description: str) -> None:
        super().__init__(description, retry_after=None)
