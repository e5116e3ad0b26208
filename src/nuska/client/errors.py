"""Everything a call of the client can raise besides a wrong argument, as one small tree.

ClientError
├── CannotConnect         no server was reached; nothing happened there
├── ConnectionBroken      the request went out and no whole answer came: it may have happened
├── DeadlinePassed        the call's time was up first: it may have happened
├── UnreadableAnswer      what answered does not speak this API
├── ClaimLost             the claim ended under its holder; its messages may be with another
└── ErrorAnswer           the server said no: status, title, description, request id
    ├── BadRequest        400
    ├── NotAuthenticated  401
    ├── NotAllowed        403
    ├── NotFound          404
    ├── Conflict          409
    └── Unavailable       503, with what the server said about when to retry

A status without a class of its own is an ``ErrorAnswer``. Nothing here retries: by the
time one of these is raised, ``retries`` has had its say.
"""


class ClientError(Exception):
    """Base of every error this client raises on purpose."""


class CannotConnect(ClientError):
    """No server was reached, so nothing happened there."""


class ConnectionBroken(ClientError):
    """The connection ended before the answer did; the request may have been carried out."""


class DeadlinePassed(ClientError, TimeoutError):
    """The call's time was up before an answer came; the request may have been carried out."""


class UnreadableAnswer(ClientError):
    """The answer is not one this API gives: the address is probably that of something else."""


class ClaimLost(ClientError):
    """The claim is over while its holder was still at work.

    Another worker may have the messages by now, so work that is not safe to do twice must
    not be finished.
    """


class ErrorAnswer(ClientError):
    """The server refused the request, or failed."""

    status: int

    def __init__(
        self,
        status: int,
        *,
        title: str = "",
        description: str = "",
        request_id: str | None = None,
        retry_after: float | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(status, title, description)
        self.status = status
        self.title = title
        """The server's short name for what is wrong."""
        self.description = description
        """The server's sentence that helps; empty when it gave none."""
        self.request_id = request_id
        """What to quote to the operator: it is in the server's log."""
        self.retry_after = retry_after
        """Seconds after which the server invites a retry, if it did."""
        self.final = final
        """No retry makes sense until somebody has done something about it: a 503 in the server's
        own words that invites none, such as that of a missing encryption key."""

    def __str__(self) -> str:
        said = ": ".join(part for part in (self.title, self.description) if part)
        return said or f"The server answered with status {self.status}."


class BadRequest(ErrorAnswer):
    """400: the request breaks a rule of the API; the description says which."""


class NotAuthenticated(ErrorAnswer):
    """401: the server wants to know who is calling."""


class NotAllowed(ErrorAnswer):
    """403: this caller may not do that, or the message is in another's claim."""


class NotFound(ErrorAnswer):
    """404: no such message, claim or queue in this project."""


class Conflict(ErrorAnswer):
    """409: the request contradicts what is already stored."""


class Unavailable(ErrorAnswer):
    """503: the server cannot do it now."""


CLASS_OF_STATUS: dict[int, type[ErrorAnswer]] = {
    400: BadRequest,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    503: Unavailable,
}
