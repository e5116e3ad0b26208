"""The shapes of what the service says about itself, and what all answers share."""

from nuska.transport.http.schemas.shapes import (
    FLAG,
    INT64,
    TEXT,
    Schema,
    an_array,
    an_object,
    or_null,
    ref,
)


def service_schemas() -> dict[str, Schema]:
    json = ref("Json")
    finding = an_object(
        ("succeeded", "seconds", "ref"),
        succeeded=FLAG,
        seconds={"type": "number"},
        ref=or_null(TEXT),
    )
    missing_keys: Schema = {
        "description": "Names of the operator's keys that something encrypted needs; shown when "
        "there are some.",
        **an_array(TEXT),
    }
    return {
        "Json": {
            "description": "Any JSON value with finite numbers and integers of 64 bit.",
            "anyOf": [
                {"type": "null"},
                FLAG,
                {"type": "integer", **INT64},
                {"type": "number"},
                TEXT,
                an_array(json),
                {"type": "object", "additionalProperties": json},
            ],
        },
        "Error": an_object(("title",), title=TEXT, description=TEXT),
        "Versions": an_object(("versions",), versions=an_array({"type": "object"})),
        "Home": an_object(("resources",), resources={"type": "object"}),
        "Openapi": {"type": "object"},
        "StoreHealth": an_object(
            ("storage_reachable", "operation_status"),
            storage_reachable=FLAG,
            operation_status={"type": "object", "additionalProperties": finding},
            missing_encryption_keys=missing_keys,
        ),
        "Health": {
            "description": "With pooling one for each pool, by the pool's name.",
            "anyOf": [
                ref("StoreHealth"),
                {
                    **an_object(
                        ("catalog_reachable",),
                        catalog_reachable=FLAG,
                        missing_encryption_keys=missing_keys,
                    ),
                    "additionalProperties": ref("StoreHealth"),
                },
            ],
        },
        "Links": an_array(an_object(("rel", "href"), rel={"const": "next"}, href=TEXT)),
    }
