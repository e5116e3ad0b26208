"""What an audit log is told of a request over HTTP."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus

from falcon.asgi import Response

from nuska.interfaces.audit import Deed
from nuska.transport.http.credentials import is_signed
from nuska.transport.http.request import ApiRequest
from nuska.transport.http.routes import Route

READS = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSALS = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
Actions = Mapping[tuple[str, str], str]


def actions_of(routes: Iterable[Route]) -> Actions:
    """The permission that each call needs, by path template and method."""
    return {
        (route.path, operation.method): operation.action or ""
        for route in routes
        for operation in route.operations
    }


def deed_of(req: ApiRequest, resp: Response, actions: Actions) -> Deed | None:
    """None for what nobody needs to know: a read that was answered."""
    status, caller = resp.status_code, getattr(req, "caller", None)
    changes = req.method not in READS
    refused = status in REFUSALS or (
        status == HTTPStatus.NOT_FOUND and is_signed(req) and (req.signed is None or caller is None)
    )
    if not (changes or refused):
        return None
    client = req.scope.get("client")
    return Deed(
        action=actions.get((req.uri_template or "", req.method), ""),
        changes=changes,
        refused=refused,
        target=req.scope.get("raw_path", b"").decode("ascii", "backslashreplace"),
        method=req.method,
        status=status,
        request_id=str(req.scope.get("nuska.request_id", "")),
        source=client[0] if client else "unix",
        caller=caller,
    )
