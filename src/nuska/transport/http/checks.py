"""The checks before every handler, in the fixed order of contract README §4.

 0  Host and Origin, while the server runs without authentication (D14)
 3  credentials: 401
 4  routing (Falcon): 404
 5  a pre-signed request: 404, unless it verifies and the route takes such requests
 6  a form as Content-Type: 400
 7  Accept: 406
 8  Client-ID: 400
 9  project: 400
10  queue name, length of the project: 400
11  how fast the project goes: 503, or 429 (domain/quotas.py); then a use of a signature is counted
    where there are so many: 404
12  method: 405 with Allow; OPTIONS: 200 with Allow
13  permission: 403

Step 3, where authentication is configured, comes before routing: 401 (503 when it cannot be
found out now). In open mode it is a part of step 9, where claims are read. Steps 1 and 2 are not
here: CORS is around the whole application, and the request id is the server's and the
application's.
"""

import os
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from falcon.util.mediatypes import quality

from nuska.core import Core
from nuska.core.access import Access, allow
from nuska.core.rates import Rates
from nuska.core.signatures import Admitted, SignatureDesk
from nuska.domain.errors import InvalidHeader, NotAllowed, NotAuthenticated
from nuska.domain.limits import Limits
from nuska.interfaces.identity import Credentials, Identity, Verified
from nuska.transport.http.credentials import (
    claims_of,
    claims_of_listener,
    is_link,
    is_signed,
    proofs_of,
    terms_of,
)
from nuska.transport.http.refusals import foreign, no_such_route, not_acceptable
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire import msgpack
from nuska.transport.wire.callers import UUID_BYTES, check_queue, client_of

JSON = "application/json"
EVENTS = "text/event-stream"
LONGEST_ACCEPT = 1024
FORM = b"application/x-www-form-urlencoded"
LONGEST_REMEMBERED = 256
"""Bytes of a header whose reading is remembered; a longer one is read anew every time, so that
nobody can fill the memory with headers."""

AllowedHost = Callable[[str], bool]


def check_origin(req: ApiRequest, allowed: AllowedHost) -> None:
    """Step 0: no page of another site drives a server that asks nobody who they are."""
    header = foreign_header(req.raw_headers, allowed)
    if header is not None:
        raise foreign(header)


def foreign_header(headers: Mapping[bytes, bytes], allowed: AllowedHost) -> str | None:
    """Which header names a host that this server does not answer for; None: neither does."""
    host = headers.get(b"host")
    if host is not None and not allowed(_host_of(b"//" + host[:LONGEST_REMEMBERED])):
        return "Host"
    origin = headers.get(b"origin")
    if origin is not None and not allowed(_host_of(origin[:LONGEST_REMEMBERED])):
        return "Origin"
    return None


@lru_cache(maxsize=1024)
def _host_of(authority: bytes) -> str:
    """The host named by a Host or Origin header, without port; empty when there is none.

    No name is as long as what is cut off.
    """
    try:
        return urlsplit(authority.decode("latin-1")).hostname or ""
    except ValueError:
        return ""


class Authentication:
    """Step 3, where the sender must prove who it is: before routing, so that nobody learns what
    there is. A pre-signed request is looked at in step 5, and what is open needs nothing."""

    def __init__(self, identity: Identity, open_paths: frozenset[str]) -> None:
        self._identity = identity
        self._open_paths = open_paths

    def __call__(self, req: ApiRequest) -> Awaitable[None] | None:
        if req.path in self._open_paths or is_signed(req):
            return None
        req.identity = self._identity
        found = self._identity.identify(proofs_of(req))
        if isinstance(found, Verified):
            req.verified = found
            return None
        return _wait_for(found, req)


async def _wait_for(found: Awaitable[Verified], req: ApiRequest) -> None:
    req.verified = await found


def check_signature(req: ApiRequest) -> None:
    """Step 5. A present signature, even an empty one, means "must verify" (S1), and on these
    routes nothing can be signed."""
    if is_signed(req):
        raise no_such_route()


class SignatureCheck:
    """Step 5 where signed requests are taken: every reason to refuse one looks alike."""

    def __init__(self, desk: SignatureDesk) -> None:
        self._desk = desk

    def __call__(self, req: ApiRequest) -> Awaitable[None] | None:
        if not is_signed(req):
            return None
        terms = terms_of(req)
        admitted = self._desk.look_at(terms, method=req.method, path=req.path)
        if admitted is None:
            raise no_such_route()
        req.signed = terms
        if admitted.kept_as:
            return self._look_up(admitted, req)
        req.verified = admitted.verified
        return None

    async def _look_up(self, admitted: Admitted, req: ApiRequest) -> None:
        client = req.scope.get("client")
        verified = await self._desk.look_up(admitted, source=client[0] if client else None)
        if verified is None:
            raise no_such_route()
        req.verified = verified


def check_streamable(req: ApiRequest) -> None:
    """Step 7 where the answer is an event stream."""
    accept = req.header(b"accept")
    if accept is not None and accept != b"*/*" and not _takes_events(accept[:LONGEST_ACCEPT]):
        raise not_acceptable()


def _takes_events(accept: bytes) -> bool:
    try:
        return bool(quality(EVENTS, accept.decode("latin-1")))
    except ValueError:
        return False


def check_formats(req: ApiRequest) -> None:
    """Steps 6 and 7; decides in which format the answer goes."""
    content_type = req.header(b"content-type")
    if (
        content_type is not None
        and content_type.lower() == FORM
        and req.header(b"content-length") is not None
    ):
        raise InvalidHeader(
            "Invalid Content-Type",
            "The API takes JSON, not application/x-www-form-urlencoded: send the header "
            "Content-Type: application/json.",
        )
    accept = req.header(b"accept")
    if accept is not None and accept != b"*/*":
        wanted = _remembered(accept) if len(accept) <= LONGEST_REMEMBERED else _wanted(accept)
        if wanted is None:
            raise not_acceptable()
        req.wants_msgpack = wanted is msgpack.CONTENT_TYPE


def _wanted(accept: bytes) -> str | None:
    """The best format for an Accept header, JSON when in doubt; None when none will do."""
    try:
        header = accept.decode("latin-1")
        json_quality = quality(JSON, header)
        msgpack_quality = quality(msgpack.CONTENT_TYPE, header)
    except ValueError:
        return None
    if msgpack_quality > json_quality:
        return msgpack.CONTENT_TYPE
    return JSON if json_quality else None


_remembered = lru_cache(maxsize=1024)(_wanted)


class CallerCheck:
    """Steps 8 to 11: who sends this, and to which queue; and whether he may at this pace."""

    def __init__(
        self,
        identity: Identity,
        access: Access,
        limits: Limits,
        rates: Rates,
        desk: SignatureDesk,
    ) -> None:
        self._identity = identity
        self._access = access
        self._limits = limits
        self._rates = rates
        self._desk = desk

    def __call__(self, req: ApiRequest) -> Awaitable[None] | None:
        client = self._client_of(req)
        verified = req.verified
        if verified is None:
            verified = self._claimed(req)
        project = verified.project
        if project is None:
            raise InvalidHeader("Project-Id Missing", "The header X-Project-Id is missing.")
        if not project:
            raise InvalidHeader(
                "Empty project header not allowed", "The header X-Project-Id is empty."
            )
        req.caller = self._access.caller(verified, project, client)
        fields = req.path_fields
        name = fields.get("queue_name", fields.get("topic_name"))
        if name is not None:
            check_queue(name, project)
            req.queue = name
        waiting = self._rates.request(project)
        grant = req.caller.grant
        return waiting if grant is None or not grant.counted else self._spend(waiting, req)

    async def _spend(self, waiting: Awaitable[None] | None, req: ApiRequest) -> None:
        if waiting is not None:
            await waiting
        if not await self._desk.spend(req.caller):
            raise no_such_route()
        req.has_spent = True

    def _claimed(self, req: ApiRequest) -> Verified:
        """Who the sender says it is, where that is enough."""
        if not self._identity.believes_claims:
            raise NotAuthenticated("")  # every request that comes here has been asked before
        found = self._identity.identify(self._claims(req))
        assert isinstance(found, Verified), "nobody else has to be asked for a claim"
        return found

    def _claims(self, req: ApiRequest) -> Credentials:
        return claims_of(req)

    def _client_of(self, req: ApiRequest) -> bytes:
        header = req.header(b"client-id")
        if header is None:
            if req.signed is not None and is_link(req):
                # Whoever follows a link is nobody in particular: no message is its own.
                return os.urandom(UUID_BYTES)
            raise InvalidHeader("Missing header value", "The header Client-ID is missing.")
        return client_of(header, self._limits)


class ListenerCheck(CallerCheck):
    """The same for who cannot send headers: nobody in particular, of a project that the query
    may name."""

    def _claims(self, req: ApiRequest) -> Credentials:
        return claims_of_listener(req)

    def _client_of(self, _: ApiRequest) -> bytes:
        return os.urandom(UUID_BYTES)


def check_permission(req: ApiRequest, action: str) -> None:
    """Step 13. What a signature does not allow looks like any other that does not verify."""
    caller = req.caller
    if caller.grant is None:
        allow(caller, action)
        return
    try:
        allow(caller, action, req.place)
    except NotAllowed:
        if req.signed is not None:
            raise no_such_route() from None
        raise


async def check_again(core: Core, req: ApiRequest, action: str) -> None:
    """Steps 3, 5 and 12 once more, for a sender who has waited: what he has shown may be revoked
    by now, or good for less."""
    caller = req.caller
    if req.signed is not None:
        if not await core.desk.is_still_good_for(caller):
            raise no_such_route()
        return
    if req.identity is None:
        return
    found = req.identity.identify(proofs_of(req))
    verified = found if isinstance(found, Verified) else await found
    if verified.project != caller.project:
        raise NotAllowed("What you have shown is good for another project by now.")
    allow(core.access.caller(verified, caller.project, caller.client), action, req.place)
