"""The route table: the one place that says what exists.

The Falcon routes, the ``Allow`` headers, the query parsing, the home document and the OpenAPI
document are all made from it; nothing is routed that is not a row here. Handlers are named,
not described: what they do is in the module of their noun.
"""

from nuska.domain.limits import Limits
from nuska.transport.http.table.claims import CLAIM, CLAIMS
from nuska.transport.http.table.dead_letters import DEAD_LETTERS, REDRIVE
from nuska.transport.http.table.deliveries import ATTEMPTS, REPLAY, STANDING, TRIAL
from nuska.transport.http.table.encryption import KEYS, REWRAP, ROTATE
from nuska.transport.http.table.grants import GRANT, GRANTS, GRANTS_OF_QUEUE, SHARE
from nuska.transport.http.table.keys import API_KEY, API_KEYS
from nuska.transport.http.table.messages import MESSAGE, MESSAGES
from nuska.transport.http.table.pools import (
    DRAIN,
    FLAVOR,
    FLAVORS,
    MOVE,
    POOL,
    POOLS,
    WHEREABOUTS,
)
from nuska.transport.http.table.queues import PURGE, QUEUE, QUEUES, STATS
from nuska.transport.http.table.quotas import OPERATED_QUOTA, QUOTA
from nuska.transport.http.table.rows import Admits, Handler, Operation, Route
from nuska.transport.http.table.service import HEALTH, PING, VERSION, VERSIONS
from nuska.transport.http.table.streams import STREAM
from nuska.transport.http.table.subscriptions import (
    CONFIRM,
    CONFIRM_PAGE,
    SUBSCRIPTION,
    SUBSCRIPTIONS,
)
from nuska.transport.http.table.topics import TOPIC_ROUTES

__all__ = ["Admits", "Handler", "Operation", "Route", "routes_for"]


def routes_for(limits: Limits) -> tuple[Route, ...]:
    """Every route of a server with these limits, but for the documents made from them."""
    admin: tuple[Route, ...] = (HEALTH, KEYS, ROTATE, REWRAP) if limits.admin_mode else ()
    if limits.admin_mode and limits.pooling:
        admin = (*admin, POOLS, POOL, DRAIN, WHEREABOUTS, MOVE, FLAVORS, FLAVOR)
    return (
        VERSIONS,
        VERSION,
        QUEUES,
        QUEUE,
        STATS,
        SHARE,
        GRANTS,
        GRANTS_OF_QUEUE,
        GRANT,
        PURGE,
        MESSAGES,
        STREAM,
        MESSAGE,
        CLAIMS,
        CLAIM,
        SUBSCRIPTIONS,
        SUBSCRIPTION,
        CONFIRM,
        ATTEMPTS,
        STANDING,
        TRIAL,
        REPLAY,
        DEAD_LETTERS,
        REDRIVE,
        *TOPIC_ROUTES,
        API_KEYS,
        API_KEY,
        OPERATED_QUOTA if limits.admin_mode else QUOTA,
        PING,
        CONFIRM_PAGE,
        *admin,
    )
