"""Pre-signed requests: a signature over paths, methods, project and expiry (contract signed-urls).

The algorithm is Zaqar's, to the letter, so that what one has signed the other verifies. A path
is good when it is a signed path or lies below one; nothing is a pattern, and a comparison takes
the same time whatever is wrong. A signature that is kept (``core/grants.py``) begins with the
id it is kept under, and covers it.

Nothing escapes a component, so none may hold what stands between components: such terms are
neither signed nor verified.
"""

import hmac
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from hashlib import sha256

from msgspec import Struct

from nuska.domain.moments import Moment

SEPARATOR = "\\n"
"""Two characters, a backslash and an n."""
NO_PROJECT = "None"
EXPIRES_FORMAT = "%Y-%m-%dT%H:%M:%S"
MAX_TERMS = 64
"""Paths, and methods, of one signature."""
MAX_TERM = 512
"""Characters of each."""
_EXPIRES = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}", re.ASCII)
_KEPT = re.compile(r"([0-9a-f]{24})\.([0-9a-f]{64})", re.ASCII)
_AMBIGUOUS = re.compile(r"[,\\]")


class SignedTerms(Struct, frozen=True, kw_only=True):
    """What a signature allows, and the signature, as a request shows them."""

    paths: tuple[str, ...]
    methods: tuple[str, ...]
    project: str | None
    expires: str
    signature: str

    @property
    def ends(self) -> Moment | None:
        """``expires`` as a moment; None when it says none."""
        return expiry_moment(self.expires)

    @property
    def kept_as(self) -> str:
        """The id under which it is kept; empty for one that nobody keeps."""
        kept = _KEPT.fullmatch(self.signature)
        return "" if kept is None else kept[1]

    def __repr__(self) -> str:
        return "SignedTerms(…)"


class Signer:
    """Signs with the first of its keys and verifies with all of them. Never shows any."""

    def __init__(self, key: str, *former: str) -> None:
        """``former``: keys that signed before, whose signatures are still good."""
        if not all((key, *former)):
            raise ValueError("a signing key cannot be empty")
        self._keys = tuple(each.encode() for each in (key, *former))

    def sign(
        self,
        *,
        paths: Collection[str],
        methods: Collection[str],
        project: str | None,
        expires_at: Moment,
        keep_as: str = "",
    ) -> SignedTerms:
        """Allow whoever shows this ``methods`` on ``paths`` of ``project``.

        ``keep_as``: the id under which it is kept, 24 hexadecimal digits. Raises ``ValueError``
        when the terms could be read in two ways.
        """
        expires = expiry_text(expires_at)
        if not _is_plain(paths, methods, project):
            raise ValueError("these terms cannot be signed: a comma or a backslash is in one")
        signature = signature_of(self._keys[0], paths, methods, project, expires, keep_as)
        return SignedTerms(
            paths=tuple(sorted(paths)),
            methods=tuple(sorted(methods)),
            project=project,
            expires=expires,
            signature=f"{keep_as}.{signature}" if keep_as else signature,
        )

    def genuine_until(self, terms: SignedTerms) -> Moment | None:
        """When what one of our keys has signed ends; None for what none of them has."""
        if not _is_plain(terms.paths, terms.methods, terms.project):
            return None
        shown, kept = terms.signature, terms.kept_as
        if kept:
            shown = shown.partition(".")[2]
        genuine = False
        for key in self._keys:
            expected = signature_of(
                key, terms.paths, terms.methods, terms.project, terms.expires, kept
            )
            genuine |= hmac.compare_digest(
                expected.encode(), shown.encode("utf-8", "surrogatepass")
            )
        return terms.ends if genuine else None


def can_be_signed(project: str) -> bool:
    """Whether anything can be signed for a project of this id."""
    return _is_plain((), (), project)


def _is_plain(paths: Collection[str], methods: Collection[str], project: str | None) -> bool:
    """Whether the text that is signed can be read in one way only, and is not too long."""
    return (
        len(paths) <= MAX_TERMS
        and len(methods) <= MAX_TERMS
        and all(len(text) <= MAX_TERM and not _AMBIGUOUS.search(text) for text in paths)
        and all(len(text) <= MAX_TERM and not _AMBIGUOUS.search(text) for text in methods)
        and (project is None or (len(project) <= MAX_TERM and "\\" not in project))
    )


def signature_of(
    key: bytes,
    paths: Collection[str],
    methods: Collection[str],
    project: str | None,
    expires: str,
    kept_as: str,
) -> str:
    parts = [
        ",".join(sorted(paths)),
        ",".join(sorted(methods)),
        NO_PROJECT if project is None else project,
        expires,
    ]
    if kept_as:
        parts.append(kept_as)
    text = SEPARATOR.join(parts)
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def covering(signed: Sequence[str], path: str) -> str | None:
    """The first of the signed paths that ``path`` is, or lies below."""
    for each in signed:
        if each and (path == each or path.startswith(f"{each.rstrip('/')}/")):
            return each
    return None


def expiry_text(moment: Moment) -> str:
    """``moment`` as it is signed: UTC, whole seconds, no zone."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime(EXPIRES_FORMAT)


def expiry_moment(expires: str) -> Moment | None:
    """The moment that ``expiry_text`` wrote; None for any other text."""
    if not _EXPIRES.fullmatch(expires):
        return None
    try:
        ends = datetime.fromisoformat(expires).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Moment(int(ends.timestamp()) * 1000)
