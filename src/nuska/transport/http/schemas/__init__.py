"""The shapes of bodies as JSON Schema, with the limits of this server in them.

Named by the route table, shown by the OpenAPI document.
"""

from nuska.domain.limits import Limits
from nuska.transport.http.schemas.claims import claim_schemas
from nuska.transport.http.schemas.dead_letters import dead_letter_schemas
from nuska.transport.http.schemas.deliveries import delivery_schemas
from nuska.transport.http.schemas.encryption import encryption_schemas
from nuska.transport.http.schemas.grants import grant_schemas
from nuska.transport.http.schemas.keys import key_schemas
from nuska.transport.http.schemas.messages import message_schemas
from nuska.transport.http.schemas.pools import pool_schemas
from nuska.transport.http.schemas.queues import queue_schemas
from nuska.transport.http.schemas.quotas import quota_schemas
from nuska.transport.http.schemas.service import service_schemas
from nuska.transport.http.schemas.shapes import QUEUE_NAME, Schema, ref
from nuska.transport.http.schemas.subscriptions import subscription_schemas

__all__ = ["QUEUE_NAME", "Schema", "ref", "schemas_for"]


def schemas_for(limits: Limits) -> dict[str, Schema]:
    """Every schema that the route table names."""
    return {
        **service_schemas(),
        **queue_schemas(limits),
        **message_schemas(limits),
        **claim_schemas(limits),
        **subscription_schemas(),
        **delivery_schemas(),
        **quota_schemas(),
        **grant_schemas(limits),
        **dead_letter_schemas(),
        **key_schemas(),
        **pool_schemas(),
        **encryption_schemas(),
    }
