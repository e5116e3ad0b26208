"""Whose a JSON Web Token is: its signature, its claims, and what they mean here.

The algorithms are those of public keys that the operator lists; ``none`` and the ones with
shared secrets cannot be listed. Where a key is to be found is never taken from the token.
"""

import math
import warnings
from collections.abc import Mapping

from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jws import JWSRegistry, extract_compact
from joserfc.jwt import JWTClaimsRegistry
from msgspec import Struct

from nuska.domain.errors import NotAuthenticated
from nuska.domain.limits import MAX_PROJECT_ID
from nuska.domain.moments import Moment
from nuska.identity.jwt.issuer_keys import IssuerKeys
from nuska.interfaces.clock import Clock
from nuska.interfaces.identity import Verified

MAX_TOKEN = 16_384
"""Characters."""
MAX_KID = 256
MAX_USER = 255
MAX_ROLES = 100
TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
NOT_GOOD = "The token is not good, or not any more."
MILLISECONDS = 1000
LATEST = 253_402_300_799
"""Seconds: the end of the year 9999."""


class ClaimRules(Struct, frozen=True, kw_only=True):
    """What the claims of a good token are, and what they say."""

    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    project: str
    """The claim that holds the project; dots lead into objects, unless there is a claim of that
    very name."""
    roles: str
    user: str
    role_map: Mapping[str, str]
    """Roles here by what the claim calls them; empty: they are called the same."""
    leeway: int
    """Seconds by which the clocks may differ."""


class JwtTokens:
    def __init__(self, keys: IssuerKeys, clock: Clock, rules: ClaimRules) -> None:
        self._keys = keys
        self._clock = clock
        self._rules = rules
        self._registry = JWSRegistry(algorithms=rules.algorithms, strict_check_header=False)

    async def ask(self, token: str) -> Verified:
        """Raises ``NotAuthenticated`` or ``Unavailable``."""
        if not token or len(token) > MAX_TOKEN or not token.isascii():
            raise NotAuthenticated(description=NOT_GOOD)
        try:
            kid = _kid(extract_compact(token.encode(), registry=self._registry).headers())
        except (JoseError, ValueError, TypeError, RecursionError):
            raise NotAuthenticated(description=NOT_GOOD) from None
        keys = await self._keys.current(kid)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)
                read = jwt.decode(
                    token, keys, algorithms=self._rules.algorithms, registry=self._registry
                )
            self._check(read.header, read.claims)
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise NotAuthenticated(description=NOT_GOOD) from None
        return self._verified(read.claims)

    def _check(self, header: Mapping[str, object], claims: object) -> None:
        """Raises one of joserfc's errors, or ``ValueError``."""
        kind = header.get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in TYPES:
            raise ValueError("another kind of token")
        if "crit" in header or "b64" in header:
            raise ValueError("what must be understood is not")
        if not isinstance(claims, dict):
            raise ValueError("no claims")
        for name in ("exp", "nbf", "iat"):
            value = claims.get(name)
            if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
                raise ValueError("this is no moment")
        rules = self._rules
        JWTClaimsRegistry(
            now=self._clock.now() // MILLISECONDS,
            leeway=rules.leeway,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "values": list(rules.audiences)},
            exp={"essential": True},
        ).validate(claims)

    def _verified(self, claims: Mapping[str, object]) -> Verified:
        project = _found(claims, self._rules.project)
        if not isinstance(project, str) or not project or len(project) > MAX_PROJECT_ID:
            raise NotAuthenticated(
                description=f"The token names no project: its claim {self._rules.project} must be "
                "a text."
            )
        user = _found(claims, self._rules.user)
        ends = min(int(float(str(claims["exp"]))) + self._rules.leeway, LATEST)
        return Verified(
            project=project,
            user=user if isinstance(user, str) and len(user) <= MAX_USER else "",
            roles=self._roles(_found(claims, self._rules.roles)),
            expires_at=Moment(ends * MILLISECONDS),
        )

    def _roles(self, said: object) -> frozenset[str]:
        """A list of roles, or a text with blanks between them as in ``scope``."""
        listed = said.split() if isinstance(said, str) else said
        if not isinstance(listed, list):
            return frozenset()
        names = [name for name in listed[:MAX_ROLES] if isinstance(name, str) and name]
        if not self._rules.role_map:
            return frozenset(name.lower() for name in names)
        return frozenset(
            self._rules.role_map[name].lower() for name in names if name in self._rules.role_map
        )


def _kid(header: Mapping[str, object]) -> str | None:
    kid = header.get("kid")
    if kid is None:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_KID:
        raise ValueError("this names no key")
    return kid


def _found(claims: Mapping[str, object], path: str) -> object:
    if path in claims:
        return claims[path]
    value: object = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
