"""Who is calling."""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class Caller(Struct, frozen=True, gc=False):
    """Whom a request comes from, decided by verified credentials only."""

    project: str
    roles: frozenset[str] = frozenset()
    client: bytes = b""
    """Comparable form of the Client-ID: a UUID's 16 bytes, else the text in UTF-8."""


class Identity(Protocol):
    def identify(self, headers: Mapping[bytes, bytes]) -> tuple[str | None, frozenset[str]]:
        """Project (None when the request names none) and roles, from headers as they came:
        lower-case names, values in Latin-1.

        Raises ``NotAuthenticated`` when credentials are present and do not hold.
        """
        ...
