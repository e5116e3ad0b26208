"""API keys: what one may do, how it is written, and how it is known again.

A key is written ``nuska_ID_SECRET``. Of the secret only a digest is kept. A password's digest has
to be slow, because a person's password can be guessed; a secret of 256 random bits cannot be,
however fast the digest, and a fast one keeps requests cheap. The id goes into the digest, so
that a record copied to another id is of no use.
"""

import hmac
import re
from hashlib import blake2b

from msgspec import Struct

from nuska.domain.moments import Moment

PREFIX = "nuska_"
ID_BYTES = 8
SECRET_BYTES = 32
_PERSON = b"nuska api key"
_WRITTEN = re.compile(rf"{PREFIX}([0-9a-f]{{{2 * ID_BYTES}}})_([0-9a-f]{{{2 * SECRET_BYTES}}})")
_ID = re.compile(rf"[0-9a-f]{{{2 * ID_BYTES}}}")

MAX_NAME = 255
MAX_ROLES = 20
MAX_ROLE = 64
MAX_QUEUES = 100
MAX_ACTIONS = 100
MAX_KEYS = 1000
"""Of one project."""


class Key(Struct, frozen=True, kw_only=True):
    """A key as it is kept."""

    id: str
    digest: str
    project: str
    name: str
    roles: frozenset[str]
    queues: frozenset[str] | None = None
    """Names. Where these or ``topics`` are named, it is good for nothing else."""
    topics: frozenset[str] | None = None
    actions: frozenset[str] | None = None
    """Of the table of permissions; None: all that the roles may."""
    created_at: Moment
    created_by: str = ""
    """The user, or the key, that made it."""
    expires_at: Moment | None = None


def is_key(token: str) -> bool:
    """Whether it looks like a key, good or not."""
    return token.startswith(PREFIX)


def is_key_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def written(id_: str, secret: bytes) -> str:
    return f"{PREFIX}{id_}_{secret.hex()}"


def parse(token: str) -> tuple[str, bytes] | None:
    """The id and the secret; None when it is no key."""
    found = _WRITTEN.fullmatch(token)
    return None if found is None else (found[1], bytes.fromhex(found[2]))


def digest(id_: str, secret: bytes) -> str:
    return blake2b(secret, key=id_.encode(), person=_PERSON).hexdigest()


def is_of(key: Key, secret: bytes) -> bool:
    """Whether the secret is the key's; takes the same time whatever is wrong."""
    return hmac.compare_digest(key.digest, digest(key.id, secret))
