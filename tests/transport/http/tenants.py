"""What a project may ask for, about anything, and what of an answer can be compared."""

from typing import Any

from nuska.testing.asgi import AsgiDriver, Reply

ALICE = "0f8fad5b-d9cb-469f-a165-70867728950e"
NOBODYS = "024bb9c3800000d862c2e36b0a42f782"
SECRET = "only-of-{}"
PATCH = [{"op": "add", "path": "/metadata/x", "value": 1}]
PATCH_TYPE = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}


def requests(name: str, id_: str, claim: str, project: str) -> list[tuple[str, str, Any]]:
    """Every kind of request, about a queue or topic and whatever id it is given."""
    queue, topic = f"/v2/queues/{name}", f"/v2/topics/{name}"
    body = {"messages": [{"body": SECRET.format(project), "ttl": 300}]}
    hook = {"subscriber": f"https://{project}.example/in"}
    found: list[tuple[str, str, Any]] = [
        ("GET", "/v2/queues?detailed=true&with_count=true", None),
        ("GET", "/v2/topics", None),
        ("GET", "/v2/grants", None),
        ("GET", "/v2/keys", None),
        ("GET", f"/v2/quotas/{project}", None),
        ("POST", "/v2/keys", {"name": SECRET.format(project)}),
        ("GET", f"/v2/keys/{id_[:16]}", None),
        ("DELETE", f"/v2/keys/{id_[:16]}", None),
        ("POST", f"{queue}/share", {}),
        ("POST", f"{queue}/claims", {"ttl": 60, "grace": 60}),
        ("GET", f"{queue}/claims/{claim}", None),
        ("PATCH", f"{queue}/claims/{claim}", {"ttl": 60}),
        ("DELETE", f"{queue}/claims/{claim}", None),
        ("GET", f"{queue}/grants", None),
        ("GET", f"{queue}/grants/{id_[:24]}", None),
        ("DELETE", f"{queue}/grants/{id_[:24]}", None),
        ("POST", f"{queue}/grants", {"methods": ["GET", "DELETE"]}),
    ]
    for place in (queue, topic):
        found += [
            ("PUT", place, {"owner": SECRET.format(project)}),
            ("GET", place, None),
            ("HEAD", place, None),
            ("PATCH", place, PATCH),
            ("DELETE", place, None),
            ("GET", f"{place}/stats", None),
            ("DELETE", f"{place}/messages?pop=2", None),
            ("DELETE", f"{place}/messages?ids={id_}", None),
            ("DELETE", f"{place}/messages/{id_}?claim_id={claim}", None),
            ("GET", f"{place}/dead_letters", None),
            ("POST", f"{place}/dead_letters/redrive", {}),
            ("POST", f"{place}/purge", {"resource_types": ["messages", "subscriptions"]}),
            ("POST", f"{place}/messages", body),
            ("GET", f"{place}/messages?echo=true&include_claimed=true&limit=20", None),
            ("GET", f"{place}/messages?marker={id_}&echo=true", None),
            ("GET", f"{place}/messages?ids={id_}", None),
            ("GET", f"{place}/messages/{id_}", None),
            ("POST", f"{place}/subscriptions", hook),
            ("GET", f"{place}/subscriptions", None),
            ("GET", f"{place}/subscriptions/{id_[:24]}", None),
            ("PATCH", f"{place}/subscriptions/{id_[:24]}", {"ttl": 90}),
            ("DELETE", f"{place}/subscriptions/{id_[:24]}", None),
            ("PUT", f"{place}/subscriptions/{id_[:24]}/confirm", {"confirmed": True}),
            ("GET", f"{place}/subscriptions/{id_[:24]}/attempts", None),
            ("GET", f"{place}/subscriptions/{id_[:24]}/stats", None),
            ("POST", f"{place}/subscriptions/{id_[:24]}/test", None),
            ("POST", f"{place}/subscriptions/{id_[:24]}/replay", {"since": 60}),
        ]
    return found


async def ask(driver: AsgiDriver, method: str, target: str, body: Any) -> Reply:
    headers = PATCH_TYPE if body is PATCH else {}
    return await driver.request(method, target, body, headers=headers)


def shape(value: Any) -> Any:
    """An answer without what chance and the clock have put into it."""
    if isinstance(value, dict):
        left_out = ("id", "href", "signature", "resources", "links")
        return {key: shape(inner) for key, inner in value.items() if key not in left_out}
    return [shape(inner) for inner in value] if isinstance(value, list) else value
