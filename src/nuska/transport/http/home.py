"""The home document at ``/v2/``: JSON Home, made from the route table (contract README §3)."""

import json
import re
from collections.abc import Sequence

from nuska.transport.http.routes import Operation, Route

CONTENT_TYPE = "application/json-home"
MAX_AGE = 86_400
"""Seconds for which a client may keep the document."""


def home_document(routes: Sequence[Route]) -> bytes:
    """One resource per relation, in the order of the table; methods of one relation together."""
    resources: dict[str, dict[str, object]] = {}
    for route in routes:
        for operation in route.operations:
            if operation.relation is not None:
                _add(resources, route, operation, operation.relation)
    return json.dumps({"resources": resources}, indent=4).encode()


def _add(
    resources: dict[str, dict[str, object]], route: Route, operation: Operation, relation: str
) -> None:
    if relation not in resources:
        resources[relation] = _resource(route, operation)
    hints = resources[relation]["hints"]
    assert isinstance(hints, dict)
    hints["allow"].append(operation.method)
    if operation.body is not None and operation.method in ("POST", "PATCH"):
        hints["accept-post"] = [operation.body_type]


def _resource(route: Route, operation: Operation) -> dict[str, object]:
    query = operation.relation_query
    template = route.path + (f"{{?{query}}}" if query else "")
    variables = re.findall(r"{(\w+)}", route.path) + (query.split(",") if query else [])
    resource: dict[str, object] = {}
    if variables:
        resource["href-template"] = template
        resource["href-vars"] = {name: f"param/{name}" for name in variables}
    else:
        resource["href"] = template
    resource["hints"] = {"allow": [], "formats": {"application/json": {}}}
    return resource
