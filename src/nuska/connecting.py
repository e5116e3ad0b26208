"""WebSockets of a process, made from settings: no logic."""

from collections.abc import Mapping

from nuska.core import Core
from nuska.interfaces.audit import Audit
from nuska.interfaces.identity import Identity
from nuska.interfaces.storage import RandomBytes
from nuska.settings import Settings
from nuska.transport.http.checks import AllowedHost, foreign_header
from nuska.transport.server.counters import Counters
from nuska.transport.server.sockets import Sockets
from nuska.transport.websocket.service import WebSocketService


def connecting(
    settings: Settings,
    core: Core,
    identity: Identity,
    *,
    random_bytes: RandomBytes,
    counters: Counters,
    allowed_host: AllowedHost,
    audit: Audit | None = None,
) -> Sockets:
    """What WebSocket connections have in common, whichever port they come to."""
    service = WebSocketService(
        core,
        identity,
        random_bytes=random_bytes,
        observe=counters.answered,
        audit=audit,
        max_queues=settings.websocket.max_subscriptions_per_connection,
        too_many=settings.quotas.quota_too_many,
    )
    core.quotas.ask(service)

    def admit(headers: Mapping[bytes, bytes]) -> bool:
        return foreign_header(headers, allowed_host) is None

    return Sockets(
        service,
        max_message=max(core.limits.max_messages_post_size, core.limits.max_queue_metadata),
        bounds=settings.websocket,
        admit=admit,
    )
