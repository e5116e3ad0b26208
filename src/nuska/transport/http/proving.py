"""Who may see what is no part of the API, such as metrics: the same proof, the same policy."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from inspect import isawaitable

from nuska.core.access import Access, allow
from nuska.domain.errors import InvalidInput, NotAllowed, NotAuthenticated, Unavailable
from nuska.interfaces.identity import Identity
from nuska.transport.http.credentials import proofs_in

PERMISSION = "health:get"
"""How the service is, is for those who may ask for its health."""

Judge = Callable[[Mapping[bytes, bytes]], Awaitable[int]]
"""The status by which a request with these headers is refused; 200: it is not."""


def judge_by(identity: Identity, access: Access) -> Judge:
    """For a server whose callers must prove who they are."""

    async def judge(headers: Mapping[bytes, bytes]) -> int:
        try:
            found = identity.identify(proofs_in(headers.get))
            verified = await found if isawaitable(found) else found
            allow(access.caller(verified, verified.project or "", b""), PERMISSION)
        except NotAuthenticated:
            return HTTPStatus.UNAUTHORIZED
        except NotAllowed:
            return HTTPStatus.FORBIDDEN
        except InvalidInput:
            return HTTPStatus.BAD_REQUEST
        except Unavailable:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.OK

    return judge
