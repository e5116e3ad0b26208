"""What the settings mean for quotas: the limits of projects about which nothing else is said."""

from nuska.domain.quotas import Quota
from nuska.settings import Settings


def quota_of_all(settings: Settings) -> Quota:
    said = settings.quotas
    return Quota(
        queues=said.quota_queues,
        messages=said.quota_messages,
        bytes=said.quota_bytes,
        subscriptions=said.quota_subscriptions,
        claims=said.quota_claims,
        connections=settings.websocket.max_websockets_per_project,
        listeners=settings.live.max_listeners_per_project,
        requests_per_second=said.quota_requests_per_second,
        messages_per_second=said.quota_messages_per_second,
        mails_per_day=settings.mail.mail_per_day,
    )
