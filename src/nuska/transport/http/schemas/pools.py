"""The shapes of bodies about pools, flavors, and where queues lie."""

from nuska.domain.pools import MAX_POOL_NAME, MAX_POOL_URI, MAX_POOL_WEIGHT
from nuska.transport.http.schemas.shapes import (
    COUNT,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
)


def pool_schemas() -> dict[str, Schema]:
    name: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_POOL_NAME}
    uri: Schema = {"type": "string", "minLength": 1, "maxLength": MAX_POOL_URI}
    weight: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_POOL_WEIGHT}
    options: Schema = {"type": "object"}
    names = an_array(TEXT)
    pool = an_object(
        ("name", "uri", "weight", "flavor", "href"),
        name=TEXT,
        uri={"description": "Without the password.", **TEXT},
        weight=weight,
        flavor=or_null(TEXT),
        href=TEXT,
        options=options,
    )
    new = an_object(
        ("uri", "weight"), uri=uri, weight=weight, flavor=or_null(name), options=options
    )
    flavor = an_object(("name", "href"), name=TEXT, href=TEXT, pool_list=names, capabilities=names)
    pool_list: Schema = {**an_array(name), "minItems": 1}
    new_flavor = an_object(("pool_list",), pool_list=pool_list, capabilities={})
    return {
        "Pool": pool,
        "PoolList": an_object(("pools", "links"), pools=an_array(ref("Pool")), links=ref("Links")),
        "NewPool": {**new, "additionalProperties": False},
        "PoolChange": {
            **an_object(uri=uri, weight=weight, flavor=or_null(name), options=options),
            "description": "At least one of these; other keys are passed over.",
        },
        "Flavor": flavor,
        "FlavorList": an_object(
            ("flavors", "links"), flavors=an_array(ref("Flavor")), links=ref("Links")
        ),
        "NewFlavor": {**new_flavor, "additionalProperties": False},
        "DrainTarget": {**an_object(to=or_null(name)), "additionalProperties": False},
        "MoveTarget": {**an_object(("to",), to=name), "additionalProperties": False},
        "Whereabouts": an_object(
            ("pool", "moving_to"),
            pool={
                "description": "Null: the store that keeps the catalogue.",
                **or_null(TEXT),
            },
            moving_to=or_null(TEXT),
        ),
        "Carriage": an_object(
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
            **{"from": or_null(TEXT)},
            to=or_null(TEXT),
            state={"enum": ["waiting", "running", "done", "failed"]},
            queues_done=COUNT,
            queues_left=COUNT,
            messages_done=COUNT,
            messages_left=COUNT,
            seconds={"type": "number"},
            problem=TEXT,
        ),
    }
