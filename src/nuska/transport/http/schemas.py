"""The shapes of bodies as JSON Schema, with the limits of this server in them.

Named by the route table, shown by the OpenAPI document. Reserved metadata keys come from the
table that checks them.
"""

from nuska.core.deliveries import LONGEST_SINCE
from nuska.core.keys import MIN_TTL
from nuska.core.namespaces import QUEUES, TOPICS
from nuska.core.redriving import MAX_DEAD_LETTERS
from nuska.domain.keys import MAX_ACTIONS, MAX_NAME, MAX_QUEUES, MAX_ROLES
from nuska.domain.limits import (
    MAX_SUBSCRIBER,
    MIN_CLAIM_GRACE,
    MIN_CLAIM_TTL,
    MIN_MESSAGE_TTL,
    MIN_SUBSCRIPTION_TTL,
    Limits,
)
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
from nuska.domain.pools import (
    MAX_POOL_NAME,
    MAX_POOL_URI,
    MAX_POOL_WEIGHT,
)
from nuska.domain.retries import BACKOFF_FUNCTIONS, BOUNDS
from nuska.domain.retries import KEY as RETRY_POLICY_KEY
from nuska.transport.http.quota_schemas import quota_schemas
from nuska.transport.http.sharing_schemas import sharing_schemas
from nuska.transport.wire.queues import PURGEABLE

Schema = dict[str, object]

QUEUE_NAME = "^[A-Za-z0-9_.-]{1,64}$"
_INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: tuple[str, ...] = (), /, **properties: object) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


def _array(items: object) -> Schema:
    return {"type": "array", "items": items}


def _whole(lowest: int, highest: int) -> Schema:
    """An integer that is sent. A boolean passes as the integer it is (contract README §12)."""
    integer: Schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    booleans = [value for value in (False, True) if lowest <= value <= highest]
    return {"anyOf": [integer, {"enum": booleans}]} if booleans else integer


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def schemas_for(limits: Limits) -> dict[str, Schema]:
    """Every schema that the route table names."""
    return {
        **_general(),
        **_queues(limits),
        **_messages(limits),
        **_claims(limits),
        **_subscriptions(),
        **quota_schemas(),
        **sharing_schemas(limits),
        **_dead_letters(),
        **_keys(),
        **_pools(),
    }


def _general() -> dict[str, Schema]:
    json = ref("Json")
    finding = _object(
        ("succeeded", "seconds", "ref"),
        succeeded=_FLAG,
        seconds={"type": "number"},
        ref=_or_null(_TEXT),
    )
    missing_keys: Schema = {
        "description": "Names of the operator's keys that something encrypted needs; shown when "
        "there are some.",
        **_array(_TEXT),
    }
    return {
        "Json": {
            "description": "Any JSON value with finite numbers and integers of 64 bit.",
            "anyOf": [
                {"type": "null"},
                _FLAG,
                {"type": "integer", **_INT64},
                {"type": "number"},
                _TEXT,
                _array(json),
                {"type": "object", "additionalProperties": json},
            ],
        },
        "Error": _object(("title",), title=_TEXT, description=_TEXT),
        "Versions": _object(("versions",), versions=_array({"type": "object"})),
        "Home": _object(("resources",), resources={"type": "object"}),
        "Openapi": {"type": "object"},
        "StoreHealth": _object(
            ("storage_reachable", "operation_status"),
            storage_reachable=_FLAG,
            operation_status={"type": "object", "additionalProperties": finding},
            missing_encryption_keys=missing_keys,
        ),
        "Health": {
            "description": "With pooling one for each pool, by the pool's name.",
            "anyOf": [
                ref("StoreHealth"),
                {
                    **_object(
                        ("catalog_reachable",),
                        catalog_reachable=_FLAG,
                        missing_encryption_keys=missing_keys,
                    ),
                    "additionalProperties": ref("StoreHealth"),
                },
            ],
        },
        "Links": _array(_object(("rel", "href"), rel={"const": "next"}, href=_TEXT)),
    }


def _queues(limits: Limits) -> dict[str, Schema]:
    reserved = _reserved(limits)
    metadata: Schema = {
        "type": "object",
        "properties": reserved,
        "additionalProperties": ref("Json"),
    }
    assert reserved.keys() == RESERVED.keys(), "every reserved key has a schema"
    landmark = _object(("href", "age", "created"), href=_TEXT, age=_COUNT, created=_TEXT)
    return {
        "NewMetadata": metadata,
        "Metadata": {**metadata, "required": list(QUEUES.shown)},
        "TopicMetadata": {**metadata, "required": list(TOPICS.shown)},
        "MetadataPatch": _array(
            _object(
                ("op", "path"),
                op={"enum": ["add", "replace", "remove"]},
                path={"type": "string", "pattern": "^/[Mm][Ee][Tt][Aa][Dd][Aa][Tt][Aa]/[^/]*$"},
                value=ref("Json"),
            )
        ),
        "QueueList": _object(
            ("queues", "links"),
            queues=_array(
                _object(("name", "href"), name=_TEXT, href=_TEXT, metadata=ref("Metadata"))
            ),
            links=ref("Links"),
            count=_COUNT,
        ),
        "Stats": _object(
            ("messages",),
            messages=_object(
                ("claimed", "free", "total"),
                claimed=_COUNT,
                free=_COUNT,
                total=_COUNT,
                oldest=landmark,
                newest=landmark,
            ),
            durability={"const": RELAXED},
        ),
        "TopicList": _object(
            ("topics", "links"),
            topics=_array(
                _object(("name", "href"), name=_TEXT, href=_TEXT, metadata=ref("TopicMetadata"))
            ),
            links=ref("Links"),
            count=_COUNT,
        ),
        "TopicStats": _object(
            ("messages",),
            messages=_object(("total",), total=_COUNT, oldest=landmark, newest=landmark),
            durability={"const": RELAXED},
        ),
        "Purge": _object(("resource_types",), resource_types=_array({"enum": list(PURGEABLE)})),
    }


def _reserved(limits: Limits) -> dict[str, Schema]:
    ttl = _or_null(_whole(MIN_MESSAGE_TTL, limits.max_message_ttl))
    return {
        MAX_POST_SIZE_KEY: _or_null(_whole(1, limits.max_messages_post_size)),
        MESSAGE_TTL_KEY: ttl,
        MESSAGE_DELAY_KEY: _or_null(_whole(0, limits.max_message_delay)),
        DEAD_LETTER_QUEUE_KEY: _or_null({"type": "string", "pattern": QUEUE_NAME}),
        DEAD_LETTER_TTL_KEY: ttl,
        MAX_CLAIMS_KEY: _or_null(_whole(-(2**63), 2**63 - 1)),
        ENCRYPT_KEY: {"enum": [False, None]},
        FLAVOR_KEY: _or_null({"type": "string", "minLength": 1, "maxLength": MAX_FLAVOR_NAME}),
        RETRY_POLICY_KEY: _or_null(_retry_policy()),
        DURABILITY_KEY: {"enum": [RELAXED, FULL, None]},
    }


def _retry_policy() -> Schema:
    counts: dict[str, Schema] = {key: _whole(0, highest) for key, highest in BOUNDS.items()}
    counts["maximum_delay"]["description"] = "At least 10 s above minimum_delay."
    return _object(
        **counts,
        retry_backoff_function={"enum": list(BACKOFF_FUNCTIONS)},
        ignore_subscription_override=_FLAG,
    )


def _messages(limits: Limits) -> dict[str, Schema]:
    extras: dict[str, object] = {
        "checksum": _TEXT,
        "attributes": {"type": "object"},
        "dead_letter": _object(
            ("origin", "reason", "claim_count", "at"),
            origin=_TEXT,
            reason=_TEXT,
            claim_count=_COUNT,
            at=_TEXT,
        ),
    }
    shared: dict[str, object] = {"id": _TEXT, "ttl": _COUNT, "age": _COUNT, "body": {}, **extras}
    posted = _object(
        ("body",),
        body=ref("Json"),
        ttl=_whole(MIN_MESSAGE_TTL, limits.max_message_ttl),
        # Anything passes on queues without a delay of their own.
        delay={
            **ref("Json"),
            "description": f"On delay queues seconds, 0 to {limits.max_message_delay}.",
        },
        attributes={"type": "object", "additionalProperties": ref("Json")},
    )
    posted["additionalProperties"] = ref("Json")
    popped = _object(
        ("id", "age", "ttl", "body", "claim_id", "claim_count"),
        claim_id={"type": "null"},
        claim_count=_COUNT,
        **shared,
    )
    delayed = {"description": "Seconds until it is due; shown with attributes.", **_COUNT}
    return {
        "Post": _object(("messages",), messages={**_array(posted), "minItems": 1}),
        "Posted": _object(("resources",), resources=_array(_TEXT)),
        "Message": _object(
            ("id", "href", "ttl", "age", "body"), href=_TEXT, delay=delayed, **shared
        ),
        "MessageList": _object(("messages",), messages=_array(ref("Message")), links=ref("Links")),
        "Popped": _object(("messages",), messages=_array(popped)),
        "EventStream": {
            "type": "string",
            "description": "Server-sent events. Of the type message: id is a marker, data a JSON "
            "object with id, queue, ttl, age and body. Of the type gap: some messages are "
            "missing. Of the type notice: why the stream ends.",
        },
    }


def _claims(limits: Limits) -> dict[str, Schema]:
    return {
        "ClaimTerms": _object(
            ttl=_or_null(_whole(MIN_CLAIM_TTL, limits.max_claim_ttl)),
            grace=_or_null(_whole(MIN_CLAIM_GRACE, limits.max_claim_grace)),
        ),
        "Claimed": _object(("messages",), messages=_array(ref("Message"))),
        "Claim": _object(
            ("age", "ttl", "href", "messages"),
            age=_COUNT,
            ttl=_COUNT,
            href=_TEXT,
            messages=_array(ref("Message")),
        ),
    }


def _subscriptions() -> dict[str, Schema]:
    subscriber: Schema = {
        "type": "string",
        "maxLength": MAX_SUBSCRIBER,
        "pattern": "^[A-Za-z+]+:.+$",
        "description": "A URL of a kind that this server has senders for.",
    }
    ttl = {"type": "integer", "minimum": MIN_SUBSCRIPTION_TTL, "maximum": 2**63 - 1}
    options = {
        **_object(
            _retry_policy=_or_null(_retry_policy()),
            post_data=_or_null(_TEXT),
            post_headers=_or_null({"type": "object", "additionalProperties": _TEXT}),
            subject=_or_null(_TEXT),
            trust_id=_or_null(_TEXT),
            **{"from": _or_null(_TEXT)},
        ),
        "additionalProperties": ref("Json"),
    }
    shown = _object(
        ("id", "source", "subscriber", "ttl", "age", "options", "confirmed"),
        id=_TEXT,
        source=_TEXT,
        subscriber=_TEXT,
        ttl=_COUNT,
        age=_COUNT,
        options={"type": "object"},
        confirmed=_FLAG,
        disabled=_disabled(),
        waiting=_waiting(),
    )
    return {
        "NewSubscription": _object(
            ("subscriber",), subscriber=subscriber, ttl=ttl, options=_or_null(options)
        ),
        "SubscriptionCreated": _object(("subscription_id",), subscription_id=_TEXT),
        "SubscriptionChange": {
            **_object(subscriber=subscriber, ttl=ttl, options=_or_null(options)),
            "description": "At least one of these; other keys are passed over.",
        },
        "Subscription": shown,
        "SubscriptionList": _object(
            ("subscriptions", "links"),
            subscriptions=_array(ref("Subscription")),
            links=ref("Links"),
        ),
        "Confirmed": _object(("confirmed",), confirmed=_FLAG),
        **_deliveries(),
    }


def _disabled() -> Schema:
    return _object(("reason", "at"), reason=_TEXT, at=_TEXT)


def _waiting() -> Schema:
    return _object(("for",), problem=_TEXT, **{"for": {"enum": ["confirmation"]}})


def _deliveries() -> dict[str, Schema]:
    attempt = _object(
        ("message_id", "attempt", "at", "ok", "status", "error", "latency_ms", "next_at"),
        message_id=_or_null(_TEXT),
        letter=_TEXT,
        attempt=_COUNT,
        at=_TEXT,
        ok=_FLAG,
        status=_or_null(_COUNT),
        error=_or_null(_TEXT),
        latency_ms=_COUNT,
        next_at=_or_null(_TEXT),
    )
    trouble = _object(
        ("since", "error", "failures", "next_at"),
        since=_TEXT,
        error=_TEXT,
        failures=_COUNT,
        next_at=_TEXT,
    )
    return {
        "AttemptList": _object(
            ("attempts", "trouble", "links"),
            attempts=_array(attempt),
            trouble=_or_null(trouble),
            waiting=_waiting(),
            links=ref("Links"),
        ),
        "Standing": _standing(trouble),
        "Trial": _object(("message_id",), message_id=_TEXT),
        "Replay": _object(("since",), since=_whole(0, LONGEST_SINCE)),
    }


def _standing(trouble: Schema) -> Schema:
    fields: dict[str, Schema] = {
        "state": {"enum": ["active", "trouble", "waiting", "disabled"]},
        "since": _TEXT,
        "attempts": _COUNT,
        "succeeded": _COUNT,
        "success_rate": _or_null({"type": "number", "minimum": 0, "maximum": 1}),
        "complete": _FLAG,
        "last_success": _or_null(_TEXT),
        "last_failure": _or_null(_TEXT),
        "breaker": {"enum": ["closed", "open"]},
        "trouble": _or_null(trouble),
        "disabled": _or_null(_disabled()),
        "waiting": _or_null(_waiting()),
    }
    return _object(tuple(fields), **fields)


def _dead_letters() -> dict[str, Schema]:
    letter = _object(
        ("id", "kind", "message_id", "reason", "count", "at", "body"),
        id=_TEXT,
        kind={"enum": ["message", "delivery"]},
        message_id=_TEXT,
        reason=_TEXT,
        count=_COUNT,
        at=_TEXT,
        subscription_id=_TEXT,
        subscriber=_TEXT,
        body={},
        attributes={"type": "object"},
    )
    ids = {**_array(_TEXT), "minItems": 1, "maxItems": MAX_DEAD_LETTERS}
    return {
        "DeadLetterList": _object(
            ("dead_letters", "links"), dead_letters=_array(letter), links=ref("Links")
        ),
        "Redrive": {
            **_object(
                ids=_or_null(ids),
                reason=_or_null(_TEXT),
                limit=_or_null({"type": "integer", "minimum": 1, "maximum": MAX_DEAD_LETTERS}),
                marker=_or_null(_TEXT),
                dry_run=_FLAG,
            ),
            "additionalProperties": False,
        },
        "Redriven": _object(
            ("ids", "skipped", "marker", "complete"),
            ids=_array(_TEXT),
            skipped=_COUNT,
            marker=_TEXT,
            complete=_FLAG,
        ),
    }


def _keys() -> dict[str, Schema]:
    names = _or_null(_array(_TEXT))
    shown: dict[str, object] = {
        "id": _TEXT,
        "name": _TEXT,
        "roles": _array(_TEXT),
        "queues": names,
        "topics": names,
        "actions": names,
        "created": _TEXT,
        "created_by": _TEXT,
        "expires": _or_null(_TEXT),
        "expired": _FLAG,
    }
    known = _object((*shown, "last_used"), **shown, last_used=_or_null(_TEXT))

    def some(highest: int) -> Schema:
        return _or_null({**_array(_TEXT), "minItems": 1, "maxItems": highest})

    return {
        "Key": known,
        "KeyList": _object(("keys", "links"), keys=_array(ref("Key")), links=ref("Links")),
        "MadeKey": _object((*shown, "key"), **shown, key=_TEXT),
        "NewKey": {
            **_object(
                name=_or_null({"type": "string", "maxLength": MAX_NAME}),
                roles=some(MAX_ROLES),
                queues=some(MAX_QUEUES),
                topics=some(MAX_QUEUES),
                actions=some(MAX_ACTIONS),
                ttl=_or_null({"type": "integer", "minimum": MIN_TTL}),
            ),
            "additionalProperties": False,
        },
    }


def _pools() -> dict[str, Schema]:
    name: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_POOL_NAME}
    uri: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_POOL_URI}
    weight: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_POOL_WEIGHT}
    options: Schema = {"type": "object"}
    names = _array(_TEXT)
    pool = _object(
        ("name", "uri", "weight", "flavor", "href"),
        name=_TEXT,
        uri={"description": "Without the password.", **_TEXT},
        weight=weight,
        flavor=_or_null(_TEXT),
        href=_TEXT,
        options=options,
    )
    new = _object(("uri", "weight"), uri=uri, weight=weight, flavor=_or_null(name), options=options)
    flavor = _object(("name", "href"), name=_TEXT, href=_TEXT, pool_list=names, capabilities=names)
    pool_list: Schema = {**_array(name), "minItems": 1}
    new_flavor = _object(("pool_list",), pool_list=pool_list, capabilities={})
    return {
        "Pool": pool,
        "PoolList": _object(("pools", "links"), pools=_array(ref("Pool")), links=ref("Links")),
        "NewPool": {**new, "additionalProperties": False},
        "PoolChange": {
            **_object(uri=uri, weight=weight, flavor=_or_null(name), options=options),
            "description": "At least one of these; other keys are passed over.",
        },
        "Flavor": flavor,
        "FlavorList": _object(
            ("flavors", "links"), flavors=_array(ref("Flavor")), links=ref("Links")
        ),
        "NewFlavor": {**new_flavor, "additionalProperties": False},
        "DrainTarget": {**_object(to=_or_null(name)), "additionalProperties": False},
        "MoveTarget": {**_object(("to",), to=name), "additionalProperties": False},
        "DataKeyList": _object(
            ("keys", "links"),
            keys=_array(
                _object(
                    ("id", "queue", "created_at", "operator_key"),
                    id=_TEXT,
                    queue=_TEXT,
                    created_at=_COUNT,
                    operator_key=_TEXT,
                )
            ),
            links=ref("Links"),
        ),
        "ErasedKeys": _object(("keys",), keys=_COUNT),
        "RotatedQueues": _object(("queues",), queues=_COUNT),
        "RewrappedKeys": _object(("keys",), keys=_COUNT),
        "Whereabouts": _object(
            ("pool", "moving_to"),
            pool={
                "description": "Null: the store that keeps the catalogue.",
                **_or_null(_TEXT),
            },
            moving_to=_or_null(_TEXT),
        ),
        "Carriage": _object(
            (
                "from",
                "to",
                "state",
                "queues_done",
                "queues_left",
                "messages_done",
                "messages_left",
                "seconds",
            ),
            **{"from": _or_null(_TEXT)},
            to=_or_null(_TEXT),
            state={"enum": ["waiting", "running", "done", "failed"]},
            queues_done=_COUNT,
            queues_left=_COUNT,
            messages_done=_COUNT,
            messages_left=_COUNT,
            seconds={"type": "number"},
            problem=_TEXT,
        ),
    }
