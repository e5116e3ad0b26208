"""No authentication: the caller says who it is, as with Zaqar's ``noauth`` (D14).

Fit for loopback and for networks where every client is trusted; the server refuses to start
like this anywhere else unless told so by name.
"""

from nuska.interfaces.identity import Credentials, Verified

_NO_ROLES: frozenset[str] = frozenset()


class NoAuthentication:
    """``Identity`` that believes what the caller says of its project and its roles."""

    believes_claims = True

    def identify(self, credentials: Credentials) -> Verified:
        roles = credentials.roles
        return Verified(
            project=credentials.project, roles=claimed_roles(roles) if roles else _NO_ROLES
        )

    def still_holds(self, credentials: Credentials) -> bool:  # noqa: ARG002
        return True


def claimed_roles(text: str) -> frozenset[str]:
    """Roles are compared regardless of case, as oslo.policy does."""
    return frozenset(role.strip().lower() for role in text.split(",") if role.strip())
