"""The rows about API keys: additions to Zaqar's API."""

from nuska.core.keys import KEYS_PER_PAGE
from nuska.transport.http import keys
from nuska.transport.http.table.rows import MARKER, Operation, Route, limit

API_KEYS = Route(
    keys.COLLECTION,
    (
        Operation(
            method="GET",
            handler=keys.list_keys,
            name="listKeys",
            summary="The API keys of the project, by id, without their secrets.",
            action="keys:get_all",
            query=(MARKER, limit(lambda _: KEYS_PER_PAGE)),
            answers={200: "KeyList"},
        ),
        Operation(
            method="POST",
            handler=keys.post_key,
            name="createKey",
            summary="Make an API key; its secret is in this answer and nowhere else.",
            action="keys:create",
            body="NewKey",
            answers={201: "MadeKey"},
        ),
    ),
    adds=True,
)

API_KEY = Route(
    f"{keys.COLLECTION}/{{key_id}}",
    (
        Operation(
            method="GET",
            handler=keys.get_key,
            name="getKey",
            summary="One API key, without its secret.",
            action="keys:get",
            answers={200: "Key"},
            refusals=(404,),
        ),
        Operation(
            method="DELETE",
            handler=keys.delete_key,
            name="revokeKey",
            summary="Revoke an API key; it need not exist.",
            action="keys:delete",
            answers={204: None},
        ),
    ),
    adds=True,
)
