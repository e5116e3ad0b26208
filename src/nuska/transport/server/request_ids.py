"""Request ids: ``req-`` and a random UUID, at a fraction of the cost of ``uuid.uuid4``.

The ids of a batch share their first 74 random bits and have 48 of their own: enough to be
unique, and no secrets.
"""

from collections.abc import Callable
from uuid import UUID

_BATCH = 256
_OWN_DIGITS = 12
_UUID_BYTES = 16


class RequestIds:
    """Makes ids; ``random_bytes`` is ``os.urandom`` or a stand-in that repeats."""

    def __init__(self, random_bytes: Callable[[int], bytes]) -> None:
        self._random_bytes = random_bytes
        self._head = ""
        self._own = ""
        self._at = 0

    def next(self) -> str:
        at = self._at
        if at >= len(self._own):
            self._draw()
            at = 0
        self._at = at + _OWN_DIGITS
        return self._head + self._own[at : at + _OWN_DIGITS]

    def _draw(self) -> None:
        whole = str(UUID(bytes=self._random_bytes(_UUID_BYTES), version=4))
        self._head = f"req-{whole[:-_OWN_DIGITS]}"
        self._own = self._random_bytes(_BATCH * _OWN_DIGITS // 2).hex()
