"""The HTTP API as one ASGI application: the route table behind the checks.

Falcon routes and writes answers. Everything else on the way of a request is a plain function
in ``checks.py`` or a handler; one middleware does what must also happen to requests that match
no route.
"""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import uuid4

import falcon.asgi
import structlog
from falcon import HTTPError
from falcon.asgi import Response
from falcon.constants import COMBINED_METHODS

from nuska.core import Core
from nuska.core.signatures import SignatureDesk
from nuska.domain.errors import (
    InvalidParameter,
    NotAuthenticated,
    NuskaError,
    RateExceeded,
    Unavailable,
)
from nuska.domain.limits import Limits
from nuska.interfaces.audit import Audit
from nuska.interfaces.identity import Identity
from nuska.transport.http.answers import put_in_format
from nuska.transport.http.auditing import Actions, actions_of, deed_of
from nuska.transport.http.checks import (
    AllowedHost,
    Authentication,
    CallerCheck,
    ListenerCheck,
    SignatureCheck,
    check_formats,
    check_origin,
    check_permission,
    check_signature,
    check_streamable,
)
from nuska.transport.http.documents import home_route, openapi_route
from nuska.transport.http.query import read_query
from nuska.transport.http.refusals import Refused, method_not_allowed
from nuska.transport.http.request import ApiRequest
from nuska.transport.http.routes import Admits, Handler, Operation, Route, routes_for
from nuska.transport.wire import errors as wire_errors

REQUEST_ID = "x-openstack-request-id"

Observe = Callable[[str, str, int, float], None]
"""``observe(route, method, status, seconds)``: ``route`` is a path template or ``unmatched``."""

Event = dict[str, Any]
Asgi = Callable[
    [dict[str, Any], Callable[[], Awaitable[Event]], Callable[[Event], Awaitable[None]]],
    Awaitable[None],
]
Check = Callable[[ApiRequest], Awaitable[None] | None]
"""Returns, or raises what the request is refused with; awaitable when it must wait for that."""
Responder = Callable[..., Awaitable[None]]

log = structlog.get_logger("nuska.http")


def build_app(
    core: Core,
    identity: Identity,
    *,
    allowed_host: AllowedHost | None = None,
    observe: Observe | None = None,
    audit: Audit | None = None,
    too_many: bool = False,
) -> Asgi:
    """The ASGI application over ``core``.

    ``identity`` says whom a request comes from. ``allowed_host`` is given the host name (no
    port) of a Host or Origin header, and False refuses the request; None allows every name.
    ``observe`` is called once per request, and must not fail or block; ``audit`` once for each
    that changes something or is refused. ``too_many``: who is too fast is told so by 429 on
    every route, not only on those that Zaqar lacks.

    From the server below, the scope may hold ``nuska.request_id``, the id that the server
    itself puts on the answer (without one, the application makes and shows its own), and
    ``nuska.gone``, a function that says whether the connection is closed at this moment.
    """
    routes = all_routes(core)
    authenticate = None if identity.believes_claims else Authentication(identity, _open(routes))
    first: _First
    if audit is not None:
        observe = observe or _nobody
        first = _Audited(allowed_host, authenticate, observe, audit, actions_of(routes))
    elif observe is not None:
        first = _FirstAndLast(allowed_host, authenticate, observe)
    else:
        first = _First(allowed_host, authenticate)
    app = falcon.asgi.App(request_type=ApiRequest, middleware=first)
    app.add_error_handler(NuskaError, _answer_error)
    added = [route.path for route in routes if too_many or route.adds]
    app.add_error_handler(RateExceeded, _TooFast(core.desk, frozenset(added)))
    app.add_error_handler(Refused, _answer_refusal)
    app.add_error_handler(HTTPError, _answer_http_error)
    app.add_error_handler(Exception, _answer_bug)
    check_caller = CallerCheck(identity, core.access, core.limits, core.rates, core.desk)
    check_listener = ListenerCheck(identity, core.access, core.limits, core.rates, core.desk)
    check_signed = SignatureCheck(core.desk)
    for route in routes:
        checks = _checks_of(route, check_caller, check_signed)
        if route.admits is Admits.LISTENERS:
            checks = (check_signed, check_streamable, check_listener)
        app.add_route(route.path, _resource(route, core, checks))
    return app


def all_routes(core: Core) -> tuple[Route, ...]:
    """The table, and the two documents that are made from it."""
    routes = routes_for(core.limits)
    routes = (*routes, home_route(routes))
    return (*routes, openapi_route(routes, core.limits))


def _open(routes: tuple[Route, ...]) -> frozenset[str]:
    """The paths of what nobody is asked to prove anything for. They are none with fields."""
    closed = (Admits.CALLERS, Admits.CALLERS_OR_SIGNED, Admits.LISTENERS)
    return frozenset(route.path for route in routes if route.admits not in closed)


def _resource(route: Route, core: Core, checks: tuple[Check, ...]) -> SimpleNamespace:
    """What Falcon asks for a responder: one for every method there is."""
    responders = {method: _refuse_method(route, checks) for method in COMBINED_METHODS}
    responders["OPTIONS"] = _show_methods(route, checks)
    for operation in route.operations:
        responders[operation.method] = _respond(operation, checks, core)
    return SimpleNamespace(**{f"on_{method.lower()}": r for method, r in responders.items()})


def _checks_of(route: Route, check_caller: Check, check_signed: Check) -> tuple[Check, ...]:
    """Steps 5 to 11 of ``checks.py``, as far as the route makes them."""
    if route.admits is Admits.ANY_REQUEST:
        return (check_formats,)
    if route.admits is Admits.PEOPLE:
        return (check_signature,)
    if route.admits is Admits.ANYBODY:
        return (check_signature, check_formats)
    if route.admits is Admits.CALLERS_OR_SIGNED:
        return (check_signed, check_formats, check_caller)
    return (check_signature, check_formats, check_caller)


def _respond(operation: Operation, checks: tuple[Check, ...], core: Core) -> Responder:
    handler: Handler = operation.handler
    action = operation.action
    reads_query = bool(operation.query) or operation.filters

    async def respond(req: ApiRequest, resp: Response, **fields: str) -> None:
        req.path_fields = fields
        for check in checks:
            waiting = check(req)
            if waiting is not None:
                await waiting
        if action is not None:
            check_permission(req, action)
        if reads_query and (req.query_string or req.malformed_query):
            _read_query(req, operation, core.limits)
        await handler(core, req, resp)
        if req.wants_msgpack or req.has_unread_body:
            await _finish(req, resp)

    return respond


def _refuse_method(route: Route, checks: tuple[Check, ...]) -> Responder:
    async def refuse(req: ApiRequest, _: Response, **fields: str) -> NoReturn:
        req.path_fields = fields
        await _make(checks, req)
        raise method_not_allowed(route.allow)

    return refuse


def _show_methods(route: Route, checks: tuple[Check, ...]) -> Responder:
    async def show(req: ApiRequest, resp: Response, **fields: str) -> None:
        req.path_fields = fields
        await _make(checks, req)
        resp.set_header("allow", route.allow)

    return show


async def _make(checks: tuple[Check, ...], req: ApiRequest) -> None:
    for check in checks:
        waiting = check(req)
        if waiting is not None:
            await waiting


def _read_query(req: ApiRequest, operation: Operation, limits: Limits) -> None:
    if req.malformed_query:
        raise InvalidParameter("The query string is not UTF-8.")
    req.asked = read_query(req.query_string, operation.query, limits, filters=operation.filters)


async def _finish(req: ApiRequest, resp: Response) -> None:
    """The last touch to answers that need one: their format, the end of the connection."""
    await put_in_format(req, resp)
    if req.closes_unread:
        resp.set_header("connection", "close")


class _First:
    """What comes first for every request: its id, whether this host is meant at all, and, where
    the sender must prove who it is, the proof."""

    def __init__(self, allowed_host: AllowedHost | None, authenticate: Check | None) -> None:
        self._allowed_host = allowed_host
        self._authenticate = authenticate

    async def process_request(self, req: ApiRequest, resp: Response) -> None:
        self._admit(req, resp)
        if self._authenticate is not None:
            await _make((self._authenticate,), req)

    def _admit(self, req: ApiRequest, resp: Response) -> None:
        if "nuska.request_id" not in req.scope:  # the server below shows the id that it gave
            request_id = req.scope["nuska.request_id"] = f"req-{uuid4()}"
            resp.set_header(REQUEST_ID, request_id)
        if self._allowed_host is not None:
            check_origin(req, self._allowed_host)


class _FirstAndLast(_First):
    """The same, and tells an observer how the request ended."""

    def __init__(
        self, allowed_host: AllowedHost | None, authenticate: Check | None, observe: Observe
    ) -> None:
        super().__init__(allowed_host, authenticate)
        self._observe = observe

    async def process_request(self, req: ApiRequest, resp: Response) -> None:
        req.started = time.perf_counter()
        self._admit(req, resp)
        if self._authenticate is not None:
            await _make((self._authenticate,), req)

    async def process_response(
        self, req: ApiRequest, resp: Response, _resource: object, _succeeded: bool
    ) -> None:
        seconds = time.perf_counter() - req.started
        self._observe(req.uri_template or "unmatched", req.method, resp.status_code, seconds)


class _Audited(_FirstAndLast):
    """The same, and tells who keeps the audit log."""

    def __init__(
        self,
        allowed_host: AllowedHost | None,
        authenticate: Check | None,
        observe: Observe,
        audit: Audit,
        actions: Actions,
    ) -> None:
        super().__init__(allowed_host, authenticate, observe)
        self._audit = audit
        self._actions = actions

    async def process_response(
        self, req: ApiRequest, resp: Response, resource: object, succeeded: bool
    ) -> None:
        await super().process_response(req, resp, resource, succeeded)
        deed = deed_of(req, resp, self._actions)
        if deed is not None:
            self._audit(deed)


def _nobody(_route: str, _method: str, _status: int, _seconds: float) -> None:
    """Who is told when nobody counts."""


# Errors. Nothing but these functions turns an exception into an answer.


async def _answer_error(
    req: ApiRequest, resp: Response, error: NuskaError, _: dict[str, Any]
) -> None:
    resp.status = wire_errors.status_of(error).value
    resp.data = wire_errors.body_of(error)
    if isinstance(error, NotAuthenticated):
        resp.set_header("www-authenticate", error.challenge)
    if isinstance(error, Unavailable):
        if error.retry_after is not None:
            resp.set_header("retry-after", str(error.retry_after))
        # One line for each request of an outage, and the rest for who looks closer.
        log.warning(
            "unavailable",
            reason=error.description,
            cause=type(error.__cause__).__name__ if error.__cause__ else None,
            request_id=req.scope.get("nuska.request_id"),
        )
        log.debug("unavailable because of", exc_info=error.__cause__)
    await _finish(req, resp)


class _TooFast:
    """Zaqar's clients take a 429 for success."""

    def __init__(self, desk: SignatureDesk, paths: frozenset[str]) -> None:
        """``paths``: of the routes on which 429 is answered, not 503."""
        self._desk = desk
        self._paths = paths

    async def __call__(
        self, req: ApiRequest, resp: Response, error: RateExceeded, _: dict[str, Any]
    ) -> None:
        if req.has_spent:
            await self._desk.give_back(req.caller)
        status = wire_errors.status_of(error)
        if req.uri_template in self._paths:
            status = HTTPStatus.TOO_MANY_REQUESTS
        resp.status = status.value
        resp.data = wire_errors.body_of(error)
        resp.set_header("retry-after", str(error.retry_after))
        await _finish(req, resp)


async def _answer_refusal(
    req: ApiRequest, resp: Response, refusal: Refused, _: dict[str, Any]
) -> None:
    refusal.write(resp)
    await _finish(req, resp)


async def _answer_http_error(
    req: ApiRequest, resp: Response, error: HTTPError, _: dict[str, Any]
) -> None:
    """Falcon's own: no such route, or a method that HTTP does not know."""
    resp.status = error.status_code
    resp.data = wire_errors.error_body(error.title)
    await _finish(req, resp)


async def _answer_bug(req: ApiRequest, resp: Response, error: Exception, _: dict[str, Any]) -> None:
    log.error(
        "unexpected error",
        request_id=req.scope.get("nuska.request_id"),
        method=req.method,
        route=req.uri_template,
        exc_info=error,
    )
    resp.status = 500
    resp.data = wire_errors.error_body(wire_errors.INTERNAL_TITLE, wire_errors.INTERNAL_DESCRIPTION)
    await _finish(req, resp)
