"""Request ids: ``req-`` and a random UUID, at a fraction of the cost of ``uuid.uuid4``."""

from collections.abc import Callable

_BATCH = 256
"""Ids whose random digits are drawn at once."""
_DIGITS = 30
"""Hexadecimal digits of one id; the other two say that it is a random UUID (RFC 9562)."""


class RequestIds:
    """Makes ids; ``random_bytes`` is ``os.urandom`` or a stand-in that repeats."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._digits = ""
        self._at = 0

    def next(self) -> str:
        at = self._at
        if at >= len(self._digits):
            self._digits = self._random_bytes(_BATCH * _DIGITS // 2).hex()
            at = 0
        self._at = at + _DIGITS
        d = self._digits[at : at + _DIGITS]
        return f"req-{d[:8]}-{d[8:12]}-4{d[12:15]}-a{d[15:18]}-{d[18:]}"
