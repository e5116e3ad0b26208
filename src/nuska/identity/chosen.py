"""The identity of a server that asks who is calling: API keys always, and one kind of tokens.

A key is one wherever it stands: as a token, a bearer's or in the header for keys. What a caller
says of itself (``X-Project-Id``, ``X-Roles``) is not looked at: the project is the credential's.
"""

from collections.abc import Awaitable
from typing import Protocol

from nuska.domain.errors import NotAuthenticated
from nuska.domain.keys import is_key
from nuska.interfaces.identity import Credentials, Verified, Watch


class TokenVerifier(Protocol):
    """One kind of credential."""

    def cached(self, token: str) -> Verified | None:
        """Who it is, if that is known without asking anybody."""
        ...

    async def verify(self, token: str) -> Verified:
        """Who it is. Raises ``NotAuthenticated``, or ``Unavailable`` within seconds."""
        ...

    def watch(self, token: str, verified: Verified) -> Watch:
        """Who it is from now on, of a token that has just been accepted."""
        ...


class ChosenIdentity:
    """Implements ``Identity``."""

    believes_claims = False

    def __init__(
        self, keys: TokenVerifier | None, tokens: TokenVerifier | None, *, challenge: str
    ) -> None:
        """``keys``: None where the store keeps none; ``tokens``: None where only keys are good."""
        self._keys = keys
        self._tokens = tokens
        self._challenge = challenge

    def identify(self, credentials: Credentials) -> Verified | Awaitable[Verified]:
        verifier, shown = self._shown(credentials)
        return verifier.cached(shown) or self._ask(verifier, shown)

    def watch(self, credentials: Credentials, verified: Verified) -> Watch:
        verifier, shown = self._shown(credentials)
        return verifier.watch(shown, verified)

    def _shown(self, credentials: Credentials) -> tuple[TokenVerifier, str]:
        """What is shown, and who knows about it. Raises ``NotAuthenticated``."""
        shown, key = credentials.token, credentials.key
        if key is not None:
            if shown is not None:  # whose request would it be?
                raise NotAuthenticated(self._challenge)
            shown = key
        if not shown:
            raise NotAuthenticated(self._challenge)
        verifier = self._keys if key is not None or is_key(shown) else self._tokens
        if verifier is None:
            raise NotAuthenticated(self._challenge)
        return verifier, shown

    async def _ask(self, verifier: TokenVerifier, shown: str) -> Verified:
        try:
            return await verifier.verify(shown)
        except NotAuthenticated as error:
            raise NotAuthenticated(self._challenge, error.description) from None
