"""An identity for tests: it knows some tokens, and what it says of them may change at any time."""

import asyncio

from nuska.domain.errors import NotAuthenticated, Unavailable
from nuska.interfaces.identity import Credentials, Verified

DOWN = "down"
"""A token of which nobody can say anything."""


class Tokens:
    """Implements ``Identity``. Tests change ``known`` and ``is_down``."""

    believes_claims = False

    def __init__(self, known: dict[str, Verified]) -> None:
        self.known = known
        self.is_down = False

    async def identify(self, credentials: Credentials) -> Verified:
        await asyncio.sleep(0)
        found = self.now(credentials)
        if found is None:
            raise Unavailable("Nobody can say.")
        return found

    def watch(self, credentials: Credentials, verified: Verified) -> "Watching":
        assert verified.project, "who is watched has been identified"
        return Watching(self, credentials)

    def now(self, credentials: Credentials) -> Verified | None:
        shown = credentials.token or credentials.key or ""
        if self.is_down or shown == DOWN:
            return None
        if shown not in self.known:
            raise NotAuthenticated("Keystone")
        return self.known[shown]


class Watching:
    def __init__(self, tokens: Tokens, credentials: Credentials) -> None:
        self._tokens = tokens
        self._credentials = credentials

    def look(self) -> Verified | None:
        return self._tokens.now(self._credentials)
