"""The rows about quotas: additions to Zaqar's API."""

from nuska.transport.http import quotas
from nuska.transport.http.table.rows import Operation, Route

_PATH = "/v2/quotas/{project_id}"

_SHOW = Operation(
    method="GET",
    handler=quotas.get_quota,
    name="getQuota",
    summary="What the project may have, and how much of it there is.",
    action="quotas:get",
    answers={200: "Quota"},
)

QUOTA = Route(_PATH, (_SHOW,), adds=True)
OPERATED_QUOTA = Route(
    _PATH,
    (
        _SHOW,
        Operation(
            method="PUT",
            handler=quotas.put_quota,
            name="putQuota",
            summary="Limits of this project, in place of those of all, and of any named before.",
            action="quotas:set",
            body="QuotaOverride",
            body_required=True,
            answers={200: "Quota"},
        ),
        Operation(
            method="DELETE",
            handler=quotas.delete_quota,
            name="resetQuota",
            summary="Let the limits of all hold for this project.",
            action="quotas:set",
            answers={204: None},
        ),
    ),
    adds=True,
)
"""For operators: of any project."""
