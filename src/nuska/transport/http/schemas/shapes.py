"""What the shapes of bodies are built from."""

Schema = dict[str, object]

QUEUE_NAME = "^[A-Za-z0-9_.-]{1,64}$"
INT64 = {"minimum": -(2**63), "maximum": 2**63 - 1}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(required: tuple[str, ...] = (), /, **properties: object) -> Schema:
    schema: Schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(required)
    return schema


def an_array(items: object) -> Schema:
    return {"type": "array", "items": items}


def whole(lowest: int, highest: int) -> Schema:
    """An integer that is sent. A boolean passes as the integer it is (contract README §12)."""
    integer: Schema = {"type": "integer", "minimum": lowest, "maximum": highest}
    booleans = [value for value in (False, True) if lowest <= value <= highest]
    return {"anyOf": [integer, {"enum": booleans}]} if booleans else integer


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}
