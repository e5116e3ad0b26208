"""How a body that is encrypted at rest is told from one that is not.

A sealed body is itself JSON text, a string, so that whatever carries bodies (moves, dead letters,
announcements, deliveries, backups) carries it as it is. It begins with an escape whose one hex
letter is upper case. No stored body of a client's does: one that would is stored with the letter
in lower case, which is the same JSON value.
"""

from collections.abc import Iterable

MARK = b'"\\u001Fsealed1.'
_SAME_TO_A_READER = b'"\\u001fsealed1.'


def is_sealed(body: bytes) -> bool:
    return body.startswith(MARK)


def any_sealed(bodies: Iterable[bytes]) -> bool:
    return any([body.startswith(MARK) for body in bodies])  # noqa: C419  faster


def unmistakable(body: bytes) -> bytes:
    """A client's body, in a spelling that nobody takes for a sealed one."""
    return _SAME_TO_A_READER + body.removeprefix(MARK) if body.startswith(MARK) else body
