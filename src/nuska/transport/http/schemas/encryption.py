"""The shapes of bodies about the keys of encrypted queues."""

from nuska.transport.http.schemas.shapes import COUNT, TEXT, Schema, an_array, an_object, ref


def encryption_schemas() -> dict[str, Schema]:
    return {
        "DataKeyList": an_object(
            ("keys", "links"),
            keys=an_array(
                an_object(
                    ("id", "queue", "created_at", "operator_key"),
                    id=TEXT,
                    queue=TEXT,
                    created_at=COUNT,
                    operator_key=TEXT,
                )
            ),
            links=ref("Links"),
        ),
        "ErasedKeys": an_object(("keys",), keys=COUNT),
        "RotatedQueues": an_object(("queues",), queues=COUNT),
        "RewrappedKeys": an_object(("keys",), keys=COUNT),
    }
