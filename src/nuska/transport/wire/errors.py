"""Errors as the API shows them: one table, read by every transport."""

from http import HTTPStatus

from nuska.domain import errors
from nuska.transport.wire.json import encode

STATUS: dict[type[errors.NuskaError], HTTPStatus] = {
    errors.InvalidInput: HTTPStatus.BAD_REQUEST,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.NotAllowed: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.NotOffered: HTTPStatus.NOT_IMPLEMENTED,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

INTERNAL_TITLE = "Internal server error"
INTERNAL_DESCRIPTION = (
    "The server failed to answer this request. The request id names the log entry."
)
_INVITATION = "Please try again in a few seconds."


def status_of(error: Exception) -> HTTPStatus:
    """The status for ``error``: its own class decides, else its nearest ancestor."""
    return next(
        (STATUS[cls] for cls in type(error).__mro__ if cls in STATUS),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def body_of(error: errors.NuskaError) -> bytes:
    """``{"title", "description"}`` (contract README §7); what is not authenticated has a shape of
    its own, which Keystone's clients know."""
    description = error.description
    if isinstance(error, errors.NotAuthenticated):
        return encode({"error": {"code": 401, "title": error.title, "message": description}})
    if isinstance(error, errors.Unavailable) and error.retry_after is not None:
        description = f"{description} {_INVITATION}"
    return error_body(error.title, description)


def error_body(title: str, description: str | None = None) -> bytes:
    if description is None:
        return encode({"title": title})
    return encode({"title": title, "description": description})
