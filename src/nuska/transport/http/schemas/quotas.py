"""The shapes of bodies about quotas."""

from nuska.domain.quotas import MAX_QUOTA, NAMES, least
from nuska.transport.http.schemas.shapes import COUNT, TEXT, Schema, an_object, or_null


def quota_schemas() -> dict[str, Schema]:
    limits: Schema = {name: _limit(name) for name in NAMES}
    overrides: Schema = {
        **an_object(**limits),
        "additionalProperties": False,
        "description": "Null: no limit. What is not named is as for every project.",
    }
    return {
        "Quota": an_object(
            ("project", "limits", "overrides", "use"),
            project=TEXT,
            limits=an_object(NAMES, **limits),
            overrides=overrides,
            use=an_object(**dict.fromkeys(NAMES, COUNT)),
        ),
        "QuotaOverride": overrides,
    }


def _limit(name: str) -> Schema:
    return or_null({"type": "integer", "minimum": least(name), "maximum": MAX_QUOTA})
