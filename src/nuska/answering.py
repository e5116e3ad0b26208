"""The HTTP API as the settings say, whichever server calls it: no logic."""

from nuska.core import Core
from nuska.interfaces.audit import Audit
from nuska.interfaces.identity import Identity
from nuska.settings import Settings
from nuska.transport.http.app import Observe, build_app
from nuska.transport.http.checks import AllowedHost
from nuska.transport.http.cors import with_cors
from nuska.transport.server.asgi import AsgiApp


def http_api(
    settings: Settings,
    core: Core,
    identity: Identity,
    *,
    allowed_host: AllowedHost,
    audit: Audit | None,
    observe: Observe | None = None,
) -> AsgiApp:
    """``allowed_host`` counts where callers need not prove who they are: see ``build_app``."""
    app = build_app(
        core,
        identity,
        allowed_host=allowed_host if identity.believes_claims else None,
        observe=observe,
        audit=audit,
        too_many=settings.quotas.quota_too_many,
    )
    return with_cors(app, settings.cors_origins)
