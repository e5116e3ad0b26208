"""Pre-signed requests: a signature over paths, methods, project and expiry (contract signed-urls).

The algorithm is Zaqar's, to the letter, so that what one has signed the other verifies. A path
is good when it is a signed path or lies below one; nothing is a pattern, and a comparison takes
the same time whatever is wrong.
"""

import hmac
from collections.abc import Collection
from datetime import UTC, datetime
from hashlib import sha256

from msgspec import Struct

from nuska.domain.moments import Moment

SEPARATOR = "\\n"
"""Two characters, a backslash and an n."""
NO_PROJECT = "None"
EXPIRES_FORMAT = "%Y-%m-%dT%H:%M:%S"
_EXPIRES_LENGTH = len("2031-03-04T05:06:07")


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
        return _moment(self.expires)


class Signer:
    """Signs and verifies with one key. Never shows it."""

    def __init__(self, key: str) -> None:
        if not key:
            raise ValueError("a signing key cannot be empty")
        self._key = key.encode()

    def sign(
        self,
        *,
        paths: Collection[str],
        methods: Collection[str],
        project: str | None,
        expires_at: Moment,
    ) -> SignedTerms:
        """Allow whoever shows this ``methods`` on ``paths`` of ``project``."""
        expires = expiry_text(expires_at)
        return SignedTerms(
            paths=tuple(sorted(paths)),
            methods=tuple(sorted(methods)),
            project=project,
            expires=expires,
            signature=self._signature(paths, methods, project, expires),
        )

    def verifies(self, terms: SignedTerms, *, method: str, path: str, now: Moment) -> bool:
        """Whether a request with these ``terms`` may be served."""
        expected = self._signature(terms.paths, terms.methods, terms.project, terms.expires)
        genuine = hmac.compare_digest(expected.encode(), terms.signature.encode())
        ends = terms.ends
        return (
            genuine
            and ends is not None
            and now < ends
            and method in terms.methods
            and any(_covers(signed, path) for signed in terms.paths)
        )

    def _signature(
        self, paths: Collection[str], methods: Collection[str], project: str | None, expires: str
    ) -> str:
        text = SEPARATOR.join(
            (
                ",".join(sorted(paths)),
                ",".join(sorted(methods)),
                NO_PROJECT if project is None else project,
                expires,
            )
        )
        return hmac.new(self._key, text.encode(), sha256).hexdigest()


def expiry_text(moment: Moment) -> str:
    """``moment`` as it is signed: UTC, whole seconds, no zone."""
    return datetime.fromtimestamp(moment // 1000, UTC).strftime(EXPIRES_FORMAT)


def _moment(expires: str) -> Moment | None:
    if len(expires) != _EXPIRES_LENGTH:
        return None
    try:
        ends = datetime.strptime(expires, EXPIRES_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Moment(int(ends.timestamp()) * 1000)


def _covers(signed: str, path: str) -> bool:
    return bool(signed) and (path == signed or path.startswith(f"{signed.rstrip('/')}/"))
