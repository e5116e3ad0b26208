"""No authentication: the caller says who it is, as with Zaqar's ``noauth`` (D14).

Fit for loopback and for networks where every client is trusted; the server refuses to start
like this anywhere else unless told so by name.
"""

from nuska.interfaces.identity import Credentials, Verified, Watch

_NO_ROLES: frozenset[str] = frozenset()


class NoAuthentication:
    """``Identity`` that believes what the caller says of its project and its roles."""

    believes_claims = True

    def identify(self, credentials: Credentials) -> Verified:
        roles = credentials.roles
        return Verified(
            project=credentials.project, roles=claimed_roles(roles) if roles else _NO_ROLES
        )

    def watch(self, credentials: Credentials, verified: Verified) -> Watch:  # noqa: ARG002
        return _Claimed(verified)


class _Claimed:
    """What somebody says of himself stays as it is."""

    def __init__(self, verified: Verified) -> None:
        self._verified = verified

    def look(self) -> Verified:
        return self._verified


def claimed_roles(text: str) -> frozenset[str]:
    """Roles are compared regardless of case, as oslo.policy does."""
    return frozenset(role.strip().lower() for role in text.split(",") if role.strip())
