"""Who may see what is no part of the API, such as metrics: the same proof, the same policy."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from inspect import isawaitable

from nuska.core.access import Access, allow
from nuska.domain.errors import NotAllowed, NotAuthenticated, Unavailable
from nuska.interfaces.identity import Credentials, Identity

PERMISSION = "health:get"
"""How the service is, is for those who may ask for its health."""
_BEARER = "bearer "

Judge = Callable[[Mapping[bytes, bytes]], Awaitable[int]]
"""The status by which a request with these headers is refused; 200: it is not."""


def judge_by(identity: Identity, access: Access) -> Judge:
    """For a server whose callers must prove who they are."""

    async def judge(headers: Mapping[bytes, bytes]) -> int:
        try:
            found = identity.identify(_proofs(headers))
            verified = await found if isawaitable(found) else found
            allow(access.caller(verified, verified.project or "", b""), PERMISSION)
        except NotAuthenticated:
            return HTTPStatus.UNAUTHORIZED
        except NotAllowed:
            return HTTPStatus.FORBIDDEN
        except Unavailable:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.OK

    return judge


def _proofs(headers: Mapping[bytes, bytes]) -> Credentials:
    token = _text(headers, b"x-auth-token")
    authorization = _text(headers, b"authorization") or ""
    if token is None and authorization[: len(_BEARER)].lower() == _BEARER:
        token = authorization[len(_BEARER) :].strip()
    return Credentials(token=token, key=_text(headers, b"x-api-key"))


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")
