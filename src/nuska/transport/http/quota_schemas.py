"""The shapes of bodies about quotas as JSON Schema; ``schemas.py`` has the others."""

from nuska.domain.quotas import MAX_QUOTA, NAMES, least

Schema = dict[str, object]


def quota_schemas() -> dict[str, Schema]:
    limits: Schema = {name: _limit(name) for name in NAMES}
    overrides: Schema = {
        "type": "object",
        "properties": limits,
        "additionalProperties": False,
        "description": "Null: no limit. What is not named is as for every project.",
    }
    counts: Schema = {"type": "integer", "minimum": 0}
    return {
        "Quota": {
            "type": "object",
            "properties": {
                "project": {"type": "string"},
                "limits": {"type": "object", "properties": limits, "required": list(NAMES)},
                "overrides": overrides,
                "use": {"type": "object", "properties": dict.fromkeys(NAMES, counts)},
            },
            "required": ["project", "limits", "overrides", "use"],
        },
        "QuotaOverride": overrides,
    }


def _limit(name: str) -> Schema:
    return {
        "anyOf": [
            {"type": "integer", "minimum": least(name), "maximum": MAX_QUOTA},
            {"type": "null"},
        ]
    }
