"""The documents about the service: versions, home, OpenAPI."""

import json
import re

from nuska.core import Core
from nuska.testing.asgi import AsgiDriver
from nuska.transport.http.app import all_routes
from nuska.transport.http.openapi import openapi_document
from nuska.transport.http.routes import Admits

from .statuses import ZAQARS, known

VERSIONS = {
    "versions": [
        {
            "id": "2",
            "status": "CURRENT",
            "updated": "2014-9-24T04:06:47Z",
            "media-types": [
                {
                    "base": "application/json",
                    "type": "application/vnd.openstack.messaging-v2+json",
                }
            ],
            "links": [{"href": "/v2/", "rel": "self"}],
        }
    ]
}


async def test_the_version_document_needs_no_headers_and_answers_300(api: AsgiDriver) -> None:
    reply = await api.with_headers(Client_ID=None, X_Project_Id=None).get("/")
    assert (reply.status, reply.json()) == (300, VERSIONS)


async def test_discovery_at_v2_finds_the_same_document_with_200(api: AsgiDriver) -> None:
    reply = await api.with_headers(Client_ID=None, X_Project_Id=None).get("/v2")
    assert (reply.status, reply.json()) == (200, VERSIONS)


async def test_the_home_document_needs_all_normal_headers(api: AsgiDriver) -> None:
    assert (await api.with_headers(Client_ID=None).get("/v2/")).status == 400
    reply = await api.get("/v2/")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json-home"
    assert reply.headers["cache-control"] == "max-age=86400"
    assert reply.body.startswith(b'{\n    "resources": {\n        "rel/')


async def test_the_home_document_holds_the_table_of_the_contract(api: AsgiDriver) -> None:
    resources = (await api.get("/v2/")).json()["resources"]
    queue = "/v2/queues/{queue_name}"
    expected = {
        "rel/queues": ("/v2/queues{?marker,limit,detailed}", "GET"),
        "rel/queue": (queue, "GET PUT DELETE PATCH"),
        "rel/queue_stats": (f"{queue}/stats", "GET"),
        "rel/queue_share": (f"{queue}/share", "POST"),
        "rel/queue_purge": (f"{queue}/purge", "POST"),
        "rel/messages": (f"{queue}/messages{{?marker,limit,echo,include_claimed}}", "GET"),
        "rel/post_messages": (f"{queue}/messages", "POST"),
        "rel/messages_delete": (f"{queue}/messages{{?ids,pop}}", "DELETE"),
        "rel/message_get": (f"{queue}/messages/{{message_id}}", "GET"),
        "rel/message_delete": (f"{queue}/messages/{{message_id}}{{?claim}}", "DELETE"),
        "rel/claim": (f"{queue}/claims/{{claim_id}}", "GET"),
        "rel/patch_claim": (f"{queue}/claims/{{claim_id}}", "PATCH"),
        "rel/delete_claim": (f"{queue}/claims/{{claim_id}}", "DELETE"),
        "rel/post_claim": (f"{queue}/claims{{?limit}}", "POST"),
        "rel/subscriptions_get": (f"{queue}/subscriptions{{?marker,limit}}", "GET"),
        "rel/subscriptions_post": (f"{queue}/subscriptions", "POST"),
        "rel/subscription": (f"{queue}/subscriptions/{{subscriptions_id}}", "GET DELETE"),
        "rel/subscription_patch": (f"{queue}/subscriptions/{{subscriptions_id}}", "PATCH"),
        "rel/ping": ("/v2/ping", "GET"),
    }
    found = {
        name: (
            resource.get("href-template") or resource["href"],
            " ".join(resource["hints"]["allow"]),
        )
        for name, resource in resources.items()
    }
    assert found == expected
    assert resources["rel/queue"]["href-vars"] == {"queue_name": "param/queue_name"}
    assert resources["rel/post_messages"]["hints"]["accept-post"] == ["application/json"]
    assert resources["rel/queue"]["hints"]["formats"] == {"application/json": {}}


async def test_the_openapi_document_describes_every_route_and_method(
    api: AsgiDriver, core: Core
) -> None:
    reply = await api.with_headers(Client_ID=None, X_Project_Id=None).get("/v2/openapi.json")
    assert reply.status == 200
    document = reply.json()
    assert document["openapi"] == "3.1.0"
    described = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    served = {
        (route.path, operation.method)
        for route in all_routes(core)
        for operation in route.operations
        if route.admits is not Admits.PEOPLE
    }
    assert described == served


async def test_no_answer_is_described_that_zaqars_clients_take_for_success(core: Core) -> None:
    """And what is not described is not answered: schemathesis looks."""
    document = json.loads(openapi_document(all_routes(core), core.limits))
    surprising = [
        (method, path, status)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "parameters"
        for status in operation["responses"]
        if not known(method.upper(), path, int(status))
    ]
    assert surprising == []
    adding = {route.path for route in all_routes(core) if route.adds}
    assert not [path for path in adding if ZAQARS.fullmatch(path)]
    zaqars = [path for path in document["paths"] if ZAQARS.fullmatch(path)]
    assert len(zaqars) > 20, "the paths of the contract are among them"


async def test_every_schema_that_the_openapi_document_names_is_in_it(api: AsgiDriver) -> None:
    text = (await api.get("/v2/openapi.json")).body.decode()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert named <= (await api.get("/v2/openapi.json")).json()["components"]["schemas"].keys()


async def test_the_openapi_document_shows_the_limits_of_this_server(make_api) -> None:
    document = (await make_api(max_claim_ttl=1234).get("/v2/openapi.json")).json()
    terms = document["components"]["schemas"]["ClaimTerms"]["properties"]
    assert terms["ttl"]["anyOf"][0]["maximum"] == 1234
