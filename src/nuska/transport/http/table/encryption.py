"""The rows about the data keys of encrypted queues."""

from nuska.core.encryption import KEYS_PER_PAGE
from nuska.transport.http import encryption
from nuska.transport.http.table.rows import MARKER, Operation, Route, limit

KEYS = Route(
    encryption.KEYS_PATH,
    (
        Operation(
            method="GET",
            handler=encryption.list_keys,
            name="listDataKeys",
            summary="The project's data keys: what they are for, not what they are.",
            action="encryption:get",
            query=(MARKER, limit(lambda _: KEYS_PER_PAGE)),
            answers={200: "DataKeyList"},
        ),
        Operation(
            method="DELETE",
            handler=encryption.erase_keys,
            name="eraseDataKeys",
            summary="Erase the project's data keys, and with them what they sealed.",
            action="encryption:erase",
            answers={200: "ErasedKeys"},
        ),
    ),
    adds=True,
)

ROTATE = Route(
    "/v2/encryption/rotate",
    (
        Operation(
            method="POST",
            handler=encryption.rotate,
            name="rotateDataKeys",
            summary="Seal with new data keys from now on.",
            action="encryption:rotate",
            answers={200: "RotatedQueues"},
        ),
    ),
    adds=True,
)

REWRAP = Route(
    "/v2/encryption/rewrap",
    (
        Operation(
            method="POST",
            handler=encryption.rewrap,
            name="rewrapDataKeys",
            summary="Wrap the data keys of every project with the operator's first key.",
            action="encryption:rewrap",
            answers={200: "RewrappedKeys"},
        ),
    ),
    adds=True,
)
