"""What a request shows of who sent it: tokens, keys, claims, and signatures.

Reads; decides nothing. Only the headers named here are looked at, whatever else a client calls
itself (S1): where authentication is configured, claims are not even read.
"""

from collections.abc import Callable

from falcon.uri import parse_query_string

from nuska.domain.signing import SignedTerms
from nuska.interfaces.identity import Credentials
from nuska.transport.http.request import ApiRequest
from nuska.transport.wire.signing import NOTHING_GOOD, SIGNATURE, terms_in_query

PROJECT_HEADERS = (b"x-project-id", b"x-tenant-id", b"x-tenant")
"""In the order in which they are believed."""
PROJECT_PARAMETER = "project_id"
SIGNED_HEADER = b"url-signature"
_SIGNED_PARAMETER = f"{SIGNATURE}="
_BEARER = "bearer "

Header = Callable[[bytes], bytes | None]
"""A request's header by its lower-case name, as it came."""


def claims_of(req: ApiRequest) -> Credentials:
    """What the sender says it is."""
    roles = req.header(b"x-roles")
    return Credentials(
        project=_claimed_project(req), roles="" if roles is None else roles.decode("latin-1")
    )


def _claimed_project(req: ApiRequest) -> str | None:
    for name in PROJECT_HEADERS:
        project = req.header(name)
        if project is not None:
            return project.decode("latin-1")
    return None


def claims_of_listener(req: ApiRequest) -> Credentials:
    """The same where headers cannot be sent: the query says what they do not."""
    claims = claims_of(req)
    if claims.project is not None:
        return claims
    given = parse_query_string(req.query_string).get(PROJECT_PARAMETER)
    project = given[-1] if isinstance(given, list) else given
    return Credentials(project=project, roles=claims.roles)


def proofs_of(req: ApiRequest) -> Credentials:
    """What the sender can prove it is."""
    return proofs_in(req.header)


def proofs_in(header: Header) -> Credentials:
    """The same, of any request."""
    token = _text(header, b"x-auth-token")
    if token is None:
        authorization = _text(header, b"authorization") or ""
        if authorization[: len(_BEARER)].lower() == _BEARER:
            token = authorization[len(_BEARER) :].strip()
    return Credentials(token=token, key=_text(header, b"x-api-key"))


def is_signed(req: ApiRequest) -> bool:
    """Whether a signature is shown, however bad. Then nothing else is looked at."""
    return req.header(SIGNED_HEADER) is not None or is_link(req)


def is_link(req: ApiRequest) -> bool:
    """Whether it is the query that has the signature."""
    query = req.query_string
    return (
        bool(query)
        and _SIGNED_PARAMETER in query
        and req.path.startswith(("/v2/queues/", "/v2/topics/"))
        and (query.startswith(_SIGNED_PARAMETER) or f"&{_SIGNED_PARAMETER}" in query)
    )


def terms_of(req: ApiRequest) -> SignedTerms:
    """What a pre-signed request shows, one way or the other; both ways is none."""
    signature = _text(req.header, SIGNED_HEADER)
    if signature is None:
        return terms_in_query(req.query_string)
    if is_link(req):
        return NOTHING_GOOD
    return SignedTerms(
        paths=_listed(req, b"url-paths"),
        methods=_listed(req, b"url-methods"),
        project=_text(req.header, b"x-project-id") or None,
        expires=_text(req.header, b"url-expires") or "",
        signature=signature,
    )


def _text(header: Header, name: bytes) -> str | None:
    value = header(name)
    return None if value is None else value.decode("latin-1")


def _listed(req: ApiRequest, name: bytes) -> tuple[str, ...]:
    return tuple((_text(req.header, name) or "").split(","))
