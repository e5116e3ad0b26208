"""Pre-signed URLs on the wire: the request for one, what comes of it, and how one is shown.

A link that shows a part of what it should, or anything twice, becomes terms that no signature
verifies.
"""

from datetime import UTC, datetime
from urllib.parse import quote, unquote_plus, urlencode

from nuska.core.grants import KeptGrant
from nuska.core.sharing import Narrowing, ShareTerms
from nuska.domain.errors import InvalidBody, InvalidInput
from nuska.domain.moments import Moment, iso
from nuska.domain.signing import SignedTerms, expiry_text
from nuska.transport.wire.json import decode_object, encode
from nuska.transport.wire.paging import NO_LINKS, next_link

SHAREABLE = ("messages", "claims", "subscriptions")
DEFAULT_PATHS = ("messages",)
DEFAULT_METHODS = ("GET",)
DEFAULT_LIFETIME = 86_400_000
"""Milliseconds: 24 hours."""
_TERMS = ("paths", "methods", "expires")
_NARROWING = ("note", "max_body", "max_batch", "uses", "networks")

SIGNATURE = "signature"
LINK = (SIGNATURE, "expires", "methods", "paths", "project_id")
"""The parameters of a link. What they say is never shown again."""
MAX_PARAMETERS = 100
"""Of a query that has a signature in it."""
NOTHING_GOOD = SignedTerms(paths=(), methods=(), project=None, expires="", signature="")
"""What is neither signed nor unsigned."""


def decode_share(data: bytes, now: Moment) -> ShareTerms:
    """The terms in a share's body, which is required but may be ``{}``."""
    return _terms(_document(data, _TERMS), now)


def decode_grant(data: bytes, now: Moment) -> tuple[ShareTerms, Narrowing]:
    """The terms of a URL that is to be kept, and what it is good for beside them."""
    document = _document(data, (*_TERMS, *_NARROWING))
    note = document.get("note", "")
    if not isinstance(note, str):
        raise InvalidInput("The value of note must be a text.")
    return _terms(document, now), Narrowing(
        note=note,
        max_body=_number(document, "max_body"),
        max_batch=_number(document, "max_batch"),
        uses=_number(document, "uses"),
        networks=_texts(document, "networks"),
    )


def _document(data: bytes, keys: tuple[str, ...]) -> dict[str, object]:
    if not data:
        raise InvalidBody("The request body can not be empty; {} stands for the defaults.")
    document = decode_object(data)
    unknown = sorted(document.keys() - set(keys))
    if unknown:
        known = f"{', '.join(keys[:-1])} and {keys[-1]}"
        raise InvalidInput(f"A share has no {unknown[0]!r}; it has {known}.")
    return document


def _terms(document: dict[str, object], now: Moment) -> ShareTerms:
    paths = _texts(document, "paths") or DEFAULT_PATHS
    for path in paths:
        if path not in SHAREABLE:
            raise InvalidInput(f"The value of paths may hold {', '.join(SHAREABLE)} only.")
    expires = document.get("expires")
    return ShareTerms(
        paths=paths,
        methods=_texts(document, "methods") or DEFAULT_METHODS,
        expires_at=Moment(now + DEFAULT_LIFETIME) if expires is None else _moment(expires),
    )


def _texts(document: dict[str, object], key: str) -> tuple[str, ...]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidInput(f"The value of {key} must be an array of texts.")
    return tuple(value)


def _number(document: dict[str, object], key: str) -> int | None:
    value = document.get(key)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise InvalidInput(f"The value of {key} must be an integer.")


def _moment(expires: object) -> Moment:
    """An ISO-8601 date and time, in UTC unless it names a zone; whole seconds."""
    if not isinstance(expires, str) or expires.strip().lstrip("+-").isdigit():
        raise InvalidInput(
            "The value of expires should be date format, such as 2031-03-04T05:06:07."
        )
    try:
        moment = datetime.fromisoformat(expires)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return Moment(int(moment.timestamp()) * 1000)
    except (ValueError, OverflowError):
        raise InvalidInput(
            "The value of expires should be date format, such as 2031-03-04T05:06:07."
        ) from None


def encode_share(terms: SignedTerms) -> bytes:
    return encode(_shared(terms))


def _shared(terms: SignedTerms) -> dict[str, object]:
    return {
        "paths": terms.paths,
        "methods": terms.methods,
        "project": terms.project,
        "expires": terms.expires,
        "signature": terms.signature,
    }


def encode_granted(grant: KeptGrant, terms: SignedTerms) -> bytes:
    """The one answer that has the signature: nobody can see it again."""
    return encode({**_grant(grant), **_shared(terms), "urls": links_of(terms)})


def encode_grant(grant: KeptGrant) -> bytes:
    return encode(_grant(grant))


def encode_grants(grants: list[KeptGrant], href: str, again: dict[str, str]) -> bytes:
    links = next_link(href, again, marker_of(grants[-1])) if grants else NO_LINKS
    return b'{"grants": ' + encode([_grant(grant) for grant in grants]) + b", " + links + b"}"


def _grant(grant: KeptGrant) -> dict[str, object]:
    return {
        "id": grant.id,
        "queue_name": grant.queue,
        "paths": grant.paths,
        "methods": grant.methods,
        "created": iso(grant.created_at),
        "expires": expiry_text(grant.expires_at),
        "note": grant.note,
        "max_body": grant.max_body,
        "max_batch": grant.max_batch,
        "uses": grant.uses,
        "used": grant.used,
        "networks": grant.networks,
    }


def marker_of(grant: KeptGrant) -> str:
    return f"{grant.queue}:{grant.id}"


def read_marker(marker: str | None) -> tuple[str, str] | None:
    if marker is None:
        return None
    queue, _, id_ = marker.partition(":")
    return queue, id_


def links_of(terms: SignedTerms) -> list[str]:
    """A link for each of the paths, as a path with a query."""
    query = urlencode(
        {
            SIGNATURE: terms.signature,
            "expires": terms.expires,
            "methods": ",".join(terms.methods),
            "paths": ",".join(terms.paths),
            "project_id": terms.project or "",
        },
        quote_via=quote,
        safe=":,/",
    )
    return [f"{path}?{query}" for path in terms.paths]


def terms_in_query(query: str) -> SignedTerms:
    """What the query of a link shows."""
    found: dict[str, str] = {}
    pieces = query.split("&", MAX_PARAMETERS + 1)
    if len(pieces) > MAX_PARAMETERS:
        return NOTHING_GOOD
    for piece in pieces:
        name, _, value = piece.partition("=")
        name = unquote_plus(name)
        if name in LINK:
            if name in found:
                return NOTHING_GOOD
            found[name] = unquote_plus(value)
    if len(found) < len(LINK):
        return NOTHING_GOOD
    return SignedTerms(
        paths=tuple(found["paths"].split(",")),
        methods=tuple(found["methods"].split(",")),
        project=found["project_id"] or None,
        expires=found["expires"],
        signature=found[SIGNATURE],
    )
