"""The OpenAPI 3.1 document at ``/v2/openapi.json``, made once from the table that serves."""

import re
from collections.abc import Sequence
from http import HTTPStatus

from nuska import __version__
from nuska.domain.limits import MAX_IDEMPOTENCY_KEY, MAX_PROJECT_ID, Limits
from nuska.domain.pools import MAX_POOL_NAME
from nuska.transport.http.query import Kind, Parameter
from nuska.transport.http.routes import Admits, Operation, Route
from nuska.transport.http.schemas import QUEUE_NAME, Schema, ref, schemas_for
from nuska.transport.wire.json import encode

_PATH_FIELDS: dict[str, Schema] = {
    "pool_name": {"type": "string", "minLength": 1, "maxLength": MAX_POOL_NAME},
    "flavor_name": {"type": "string", "minLength": 1, "maxLength": MAX_POOL_NAME},
    "queue_name": {"type": "string", "pattern": QUEUE_NAME},
    "topic_name": {"type": "string", "pattern": QUEUE_NAME},
    "message_id": {"type": "string", "minLength": 1},
    "claim_id": {"type": "string", "minLength": 1},
    "key_id": {"type": "string", "minLength": 1},
    "project_id": {"type": "string", "minLength": 1, "maxLength": MAX_PROJECT_ID},
    "grant_id": {"type": "string"},
    "subscriptions_id": {"type": "string", "minLength": 1},
}
_KINDS: dict[Kind, Schema] = {
    Kind.TEXT: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.JSON: {"type": "string", "contentMediaType": "application/json"},
    Kind.LIST: {"type": "array", "items": {"type": "string", "pattern": "^[^,]+$"}},
}
_CLIENT_ID: Schema = {
    "name": "Client-ID",
    "in": "header",
    "required": True,
    "description": "A UUID that names the client; listings leave out its own messages.",
    "schema": {"type": "string", "format": "uuid"},
}
_IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Posts to one queue with one key within ten minutes are the same post.",
    "schema": {
        "type": "string",
        "maxLength": MAX_IDEMPOTENCY_KEY,
        "pattern": "^[!-~]([ -~]*[!-~])?$",
    },
}
_COMMON_REFUSALS: dict[Admits, tuple[int, ...]] = {
    Admits.ANY_REQUEST: (406,),
    Admits.ANYBODY: (400, 404, 406, 503),
    Admits.CALLERS: (400, 401, 403, 404, 406, 503),
    Admits.CALLERS_OR_SIGNED: (400, 401, 403, 404, 406, 503),
    Admits.LISTENERS: (400, 401, 403, 404, 406, 503),
}


def openapi_document(routes: Sequence[Route], limits: Limits) -> bytes:
    """The document for ``routes``, which include the one that serves it; not for pages."""
    routes = [route for route in routes if route.admits is not Admits.PEOPLE]
    return encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Nuska",
                "version": __version__,
                "description": "Queues, messages, subscriptions: OpenStack Zaqar's v2 API.",
            },
            "paths": {route.path: _path_item(route, limits) for route in routes},
            "components": {"schemas": schemas_for(limits)},
        }
    )


def _path_item(route: Route, limits: Limits) -> Schema:
    fields = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_FIELDS[name]}
        for name in re.findall(r"{(\w+)}", route.path)
    ]
    item: Schema = {
        operation.method.lower(): _operation(route, operation, limits)
        for operation in route.operations
    }
    if fields:
        item["parameters"] = fields
    return item


def _operation(route: Route, operation: Operation, limits: Limits) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": _responses(route, operation),
    }
    parameters = [_query_parameter(parameter, limits) for parameter in operation.query]
    if route.admits in (Admits.CALLERS, Admits.CALLERS_OR_SIGNED):
        parameters += [_CLIENT_ID, _project(route)]
    if route.admits is Admits.LISTENERS:
        parameters.append({**_project(route), "required": False})
    if operation.idempotent_by_key:
        parameters.append(_IDEMPOTENCY_KEY)
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        content = {operation.body_type: {"schema": ref(operation.body)}}
        described["requestBody"] = {"required": operation.body_required, "content": content}
    return described


def _project(route: Route) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1, "pattern": "^[^\\x00-\\x1f\\x7f]+$"}
    if (
        "{queue_name}" in route.path or "{topic_name}" in route.path
    ):  # elsewhere its length is not looked at (README §5)
        schema["maxLength"] = MAX_PROJECT_ID
    return {
        "name": "X-Project-Id",
        "in": "header",
        "required": True,
        "description": "The project whose queues are meant.",
        "schema": schema,
    }


def _query_parameter(parameter: Parameter, limits: Limits) -> Schema:
    schema = dict(_KINDS[parameter.kind])
    if parameter.lowest is not None:
        schema["minimum"] = parameter.lowest
    if parameter.highest is not None:
        bound = "maxItems" if parameter.kind is Kind.LIST else "maximum"
        schema[bound] = parameter.highest(limits)
    if parameter.pattern is not None:
        schema["pattern"] = parameter.pattern
    described: Schema = {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "allowEmptyValue": True,
        "schema": schema,
    }
    if parameter.kind is Kind.LIST:
        described.update(style="form", explode=False)
    return described


def _responses(route: Route, operation: Operation) -> Schema:
    responses: dict[int, Schema] = {}
    for status, schema in operation.answers.items():
        responses[status] = _response(status, schema, operation.answer_type)
    too_fast = (HTTPStatus.TOO_MANY_REQUESTS.value,) if route.adds else ()
    for status in (*_COMMON_REFUSALS[route.admits], *operation.refusals, *too_fast):
        if status not in responses:
            responses[status] = _response(status, "Error", "application/json")
    return {str(status): responses[status] for status in sorted(responses)}


def _response(status: int, schema: str | None, media_type: str) -> Schema:
    described: Schema = {"description": HTTPStatus(status).phrase}
    if schema is not None:
        described["content"] = {media_type: {"schema": ref(schema)}}
    return described
