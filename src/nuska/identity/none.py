"""No authentication: the caller says who it is, as with Zaqar's ``noauth`` (D14).

Fit for loopback and for networks where every client is trusted; the server refuses to start
like this anywhere else unless told so by name.
"""

from collections.abc import Mapping

PROJECT_HEADERS = (b"x-project-id", b"x-tenant-id", b"x-tenant")
"""In the order in which they are believed."""
_NO_ROLES: frozenset[str] = frozenset()


class NoAuthentication:
    """``Identity`` that believes ``X-Project-Id`` and ``X-Roles``."""

    def identify(self, headers: Mapping[bytes, bytes]) -> tuple[str | None, frozenset[str]]:
        roles = headers.get(b"x-roles")
        return _project(headers), _roles(roles.decode("latin-1")) if roles else _NO_ROLES


def _project(headers: Mapping[bytes, bytes]) -> str | None:
    for name in PROJECT_HEADERS:
        project = headers.get(name)
        if project is not None:
            return project.decode("latin-1")
    return None


def _roles(text: str) -> frozenset[str]:
    """Roles are compared regardless of case, as oslo.policy does."""
    return frozenset(role.strip().lower() for role in text.split(",") if role.strip())
