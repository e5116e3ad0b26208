"""The shapes of bodies about queues and topics; reserved metadata keys come from the table that
checks them."""

from nuska.core.namespaces import QUEUES, TOPICS
from nuska.domain.limits import MIN_MESSAGE_TTL, Limits
from nuska.domain.metadata import (
    DEAD_LETTER_QUEUE_KEY,
    DEAD_LETTER_TTL_KEY,
    DURABILITY_KEY,
    ENCRYPT_KEY,
    FLAVOR_KEY,
    FULL,
    MAX_CLAIMS_KEY,
    MAX_FLAVOR_NAME,
    MAX_POST_SIZE_KEY,
    MESSAGE_DELAY_KEY,
    MESSAGE_TTL_KEY,
    RELAXED,
    RESERVED,
)
from nuska.domain.retries import KEY as RETRY_POLICY_KEY
from nuska.transport.http.schemas.policies import retry_policy
from nuska.transport.http.schemas.shapes import (
    COUNT,
    QUEUE_NAME,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
    whole,
)
from nuska.transport.wire.queues import PURGEABLE


def queue_schemas(limits: Limits) -> dict[str, Schema]:
    reserved = _reserved(limits)
    metadata: Schema = {
        "type": "object",
        "properties": reserved,
        "additionalProperties": ref("Json"),
    }
    assert reserved.keys() == RESERVED.keys(), "every reserved key has a schema"
    landmark = an_object(("href", "age", "created"), href=TEXT, age=COUNT, created=TEXT)
    return {
        "NewMetadata": metadata,
        "Metadata": {**metadata, "required": list(QUEUES.shown)},
        "TopicMetadata": {**metadata, "required": list(TOPICS.shown)},
        "MetadataPatch": an_array(
            an_object(
                ("op", "path"),
                op={"enum": ["add", "replace", "remove"]},
                path={"type": "string", "pattern": "^/[Mm][Ee][Tt][Aa][Dd][Aa][Tt][Aa]/[^/]*$"},
                value=ref("Json"),
            )
        ),
        "QueueList": an_object(
            ("queues", "links"),
            queues=an_array(
                an_object(("name", "href"), name=TEXT, href=TEXT, metadata=ref("Metadata"))
            ),
            links=ref("Links"),
            count=COUNT,
        ),
        "Stats": an_object(
            ("messages",),
            messages=an_object(
                ("claimed", "free", "total"),
                claimed=COUNT,
                free=COUNT,
                total=COUNT,
                oldest=landmark,
                newest=landmark,
            ),
            durability={"const": RELAXED},
        ),
        "TopicList": an_object(
            ("topics", "links"),
            topics=an_array(
                an_object(("name", "href"), name=TEXT, href=TEXT, metadata=ref("TopicMetadata"))
            ),
            links=ref("Links"),
            count=COUNT,
        ),
        "TopicStats": an_object(
            ("messages",),
            messages=an_object(("total",), total=COUNT, oldest=landmark, newest=landmark),
            durability={"const": RELAXED},
        ),
        "Purge": an_object(("resource_types",), resource_types=an_array({"enum": list(PURGEABLE)})),
    }


def _reserved(limits: Limits) -> dict[str, Schema]:
    ttl = or_null(whole(MIN_MESSAGE_TTL, limits.max_message_ttl))
    return {
        MAX_POST_SIZE_KEY: or_null(whole(1, limits.max_messages_post_size)),
        MESSAGE_TTL_KEY: ttl,
        MESSAGE_DELAY_KEY: or_null(whole(0, limits.max_message_delay)),
        DEAD_LETTER_QUEUE_KEY: or_null({"type": "string", "pattern": QUEUE_NAME}),
        DEAD_LETTER_TTL_KEY: ttl,
        MAX_CLAIMS_KEY: or_null(whole(-(2**63), 2**63 - 1)),
        ENCRYPT_KEY: {"enum": [False, None]},
        FLAVOR_KEY: or_null({"type": "string", "minLength": 1, "maxLength": MAX_FLAVOR_NAME}),
        RETRY_POLICY_KEY: or_null(retry_policy()),
        DURABILITY_KEY: {"enum": [RELAXED, FULL, None]},
    }
