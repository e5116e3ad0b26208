"""The order of checks before every handler (contract README §4) and the headers of all calls."""

import re

import pytest

from nuska.domain.errors import Unavailable
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver

QUEUE = "/v2/queues/jobs"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}
REQUEST_ID = re.compile(r"req-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

# Each fault with its answer, in the order in which they are looked for. A request with several
# faults is answered for the first.
FAULTS: list[tuple[str, dict[str, str | None], str, str, int, str]] = [
    ("route", {}, "GET", "/v2/nowhere", 404, "404 Not Found"),
    ("signature", {"URL-Signature": ""}, "GET", QUEUE, 404, "404 Not Found"),
    ("form", FORM, "GET", QUEUE, 400, "Invalid Content-Type"),
    ("accept", {"Accept": "text/html"}, "GET", QUEUE, 406, ""),
    ("no client", {"Client-ID": None}, "GET", QUEUE, 400, "Missing header value"),
    ("client", {"Client-ID": "me"}, "GET", QUEUE, 400, "Wrong UUID value"),
    ("no project", {"X-Project-Id": None}, "GET", QUEUE, 400, "Project-Id Missing"),
    ("project", {"X-Project-Id": ""}, "GET", QUEUE, 400, "Empty project header not allowed"),
    ("name", {}, "GET", "/v2/queues/a%20b", 400, "Invalid queue identification"),
    ("long", {"X-Project-Id": "p" * 257}, "GET", QUEUE, 400, "Invalid queue identification"),
    ("method", {}, "POST", QUEUE, 405, "405 Method Not Allowed"),
]


@pytest.mark.parametrize(
    ("headers", "method", "target", "status", "title"),
    [fault[1:] for fault in FAULTS],
    ids=[fault[0] for fault in FAULTS],
)
async def test_each_fault_has_its_answer(
    api: AsgiDriver,
    headers: dict[str, str | None],
    method: str,
    target: str,
    status: int,
    title: str,
) -> None:
    reply = await api.request(method, target, headers=headers)
    assert reply.status == status
    if title:
        assert reply.json()["title"] == title
    else:
        assert reply.body == b""


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[fault[0] for fault in FAULTS])
async def test_a_request_with_several_faults_is_answered_for_the_first(
    api: AsgiDriver, first: int
) -> None:
    headers: dict[str, str | None] = {}
    method, target = "GET", QUEUE
    for _, changes, this_method, this_target, _, _ in reversed(FAULTS[first:]):
        headers.update(changes)
        method = this_method if this_method != "GET" else method
        target = this_target if this_target != QUEUE else target
    reply = await api.request(method, target, headers=headers)
    assert reply.status == FAULTS[first][4]
    if FAULTS[first][5]:
        assert reply.json()["title"] == FAULTS[first][5]


@pytest.mark.parametrize(
    "text",
    [
        "0f8fad5b-d9cb-469f-a165-70867728950e",
        "0F8FAD5BD9CB469FA16570867728950E",
        "{0f8fad5b-d9cb-469f-a165-70867728950e}",
        "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e",
        "0f8fad5bd9cb-469fa165-70867728950e",
    ],
)
async def test_a_client_id_is_any_spelling_of_a_uuid(api: AsgiDriver, text: str) -> None:
    # Every spelling is the same client: it does not see what it posted itself.
    await api.post(f"{QUEUE}/messages", {"messages": [{"body": 1}]})
    reply = await api.get(f"{QUEUE}/messages", headers={"Client-ID": text})
    assert (reply.status, reply.json()["messages"]) == (200, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 32,
        "0x8fad5bd9cb469fa16570867728950e",
        "0f8fad5b d9cb469fa1657086772895 ",
        "0f8fad5bd9cb469fa16570867728950e0",
        "+f8fad5bd9cb469fa16570867728950e",
        "0_8fad5bd9cb469fa16570867728950e",
        "\xb2" * 32,
    ],
)
async def test_a_client_id_that_is_no_uuid_is_refused(api: AsgiDriver, text: str) -> None:
    reply = await api.get(QUEUE, headers={"Client-ID": text})
    assert (reply.status, reply.json()["title"]) == (400, "Wrong UUID value")


async def test_with_uuids_off_any_client_id_of_10_to_36_characters_can_post(make_api) -> None:
    api = make_api(client_id_uuid_safe=False)
    ten = {"Client-ID": "worker-001"}
    assert (await api.get(QUEUE, headers={"Client-ID": "worker-01"})).status == 400
    assert (await api.get(QUEUE, headers={"Client-ID": "w" * 37})).status == 400
    posted = await api.post(f"{QUEUE}/messages", {"messages": [{"body": 1}]}, headers=ten)
    assert posted.status == 201
    assert (await api.get(f"{QUEUE}/messages", headers=ten)).json()["messages"] == []
    other = await api.get(f"{QUEUE}/messages", headers={"Client-ID": "worker-002"})
    assert len(other.json()["messages"]) == 1


@pytest.mark.parametrize("name", ["X-Tenant-Id", "X-Tenant"])
async def test_tenant_headers_stand_in_for_the_project(api: AsgiDriver, name: str) -> None:
    await api.put(QUEUE)
    reply = await api.get("/v2/queues", headers={"X-Project-Id": None, name: "acme"})
    assert [queue["name"] for queue in reply.json()["queues"]] == ["jobs"]


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/*", 200),
        ("application/json", 200),
        ("application/json;q=0.1, text/html", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/json;q=0", 406),
        ("application/xml", 406),
        ("text/html", 406),
        ("nonsense", 406),
    ],
)
async def test_accept_must_allow_json(api: AsgiDriver, accept: str, status: int) -> None:
    assert (await api.get(QUEUE, headers={"Accept": accept})).status == status


async def test_a_form_with_a_charset_passes_the_check_and_fails_as_json(api: AsgiDriver) -> None:
    kind = "application/x-www-form-urlencoded; charset=utf-8"
    reply = await api.post(f"{QUEUE}/messages", b"a=1", headers={"Content-Type": kind})
    assert (reply.status, reply.json()["title"]) == (400, "Invalid request body")


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        ("/", "GET, OPTIONS"),
        ("/v2/queues", "GET, OPTIONS"),
        (QUEUE, "GET, PUT, DELETE, PATCH, HEAD, OPTIONS"),
        (f"{QUEUE}/claims", "POST, OPTIONS"),
        (f"{QUEUE}/claims/abc", "GET, PATCH, DELETE, OPTIONS"),
        ("/v2/ping", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_and_refused_methods_say_what_is_allowed(
    api: AsgiDriver, target: str, allow: str
) -> None:
    shown = await api.request("OPTIONS", target)
    assert (shown.status, shown.headers["allow"]) == (200, allow)
    refused = await api.request("REPORT", target)
    assert (refused.status, refused.headers["allow"]) == (405, allow)
    assert refused.json() == {"title": "405 Method Not Allowed"}


async def test_get_does_not_imply_head(api: AsgiDriver) -> None:
    assert (await api.request("HEAD", "/v2/queues")).status == 405
    assert (await api.request("HEAD", f"{QUEUE}/messages")).status == 405


@pytest.mark.parametrize("target", ["/", "/v2", "/v2/ping", "/v2/queues", "/v2/nowhere", QUEUE])
async def test_every_answer_carries_a_request_id_of_our_own(api: AsgiDriver, target: str) -> None:
    sent = "req-0f8fad5b-d9cb-469f-a165-70867728950e"
    reply = await api.get(target, headers={"X-OpenStack-Request-ID": sent})
    assert REQUEST_ID.fullmatch(reply.headers["x-openstack-request-id"])
    assert reply.headers["x-openstack-request-id"] != sent


async def test_a_server_below_that_gives_the_request_id_shows_it_itself(api: AsgiDriver) -> None:
    reply = await api.get("/v2/nowhere", scope={"nuska.request_id": "req-given"})
    assert "x-openstack-request-id" not in reply.headers


@pytest.mark.parametrize("value", ["", "0" * 64])
@pytest.mark.parametrize("target", ["/v2/ping", "/v2/queues", f"{QUEUE}/messages"])
async def test_a_signed_request_is_refused_while_there_is_no_signing_key(
    api: AsgiDriver, target: str, value: str
) -> None:
    reply = await api.get(target, headers={"URL-Signature": value})
    assert (reply.status, reply.json()) == (404, {"title": "404 Not Found"})


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8888"}, 200),
        ({"Host": "LOCALHOST"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost", "Origin": "http://localhost:3000"}, 200),
        ({"Host": "localhost", "Origin": "https://evil.example"}, 403),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": ""}, 403),
    ],
)
async def test_a_foreign_host_or_origin_is_refused_before_everything(
    make_api, headers: dict[str, str], status: int
) -> None:
    api = make_api(app={"allowed_host": lambda host: host == "localhost"})
    assert (await api.get(QUEUE, headers=headers)).status == status
    if status == 403:
        reply = await api.get("/v2/nowhere", headers={**headers, "Accept": "text/html"})
        assert (reply.status, reply.json()["title"]) == (403, "Not authorized")
        assert reply.headers["x-openstack-request-id"]


async def test_a_bug_is_answered_with_500_and_no_internals(
    api: AsgiDriver, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(type(store.queues), "get", broken)
    reply = await api.get(QUEUE)
    assert (reply.status, reply.json()["title"]) == (500, "Internal server error")
    assert b"secret" not in reply.body
    assert reply.headers["x-openstack-request-id"]


async def test_a_store_that_cannot_answer_is_503_with_retry_after(
    api: AsgiDriver, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(*_: object, **__: object) -> None:
        raise Unavailable("The disk is full.", retry_after=7)

    monkeypatch.setattr(type(store.messages), "add", down)
    reply = await api.post(f"{QUEUE}/messages", {"messages": [{"body": 1}]})
    assert (reply.status, reply.headers["retry-after"]) == (503, "7")
    assert reply.json() == {
        "title": "Service temporarily unavailable",
        "description": "The disk is full. Please try again in a few seconds.",
    }


async def test_what_was_served_is_observed_once_per_request(make_api) -> None:
    seen: list[tuple[str, str, int]] = []

    def observe(route: str, method: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        seen.append((route, method, status))

    api = make_api(app={"observe": observe})
    await api.get(QUEUE)
    await api.get("/v2/nowhere")
    await api.post(QUEUE)
    await api.post(f"{QUEUE}/messages", b"")
    assert seen == [
        ("/v2/queues/{queue_name}", "GET", 200),
        ("unmatched", "GET", 404),
        ("/v2/queues/{queue_name}", "POST", 405),
        ("/v2/queues/{queue_name}/messages", "POST", 400),
    ]


@pytest.mark.parametrize("name", ["a" * 64, "A-Z_0.9", "x.messages", "queues_set", "-", "."])
async def test_names_of_64_allowed_characters_are_names(api: AsgiDriver, name: str) -> None:
    assert (await api.put(f"/v2/queues/{name}")).status == 201


@pytest.mark.parametrize("name", ["a" * 65, "a%0A", "a%20b", "a:b", "caf%C3%A9", "a%00", "*", ""])
async def test_other_names_are_refused(api: AsgiDriver, name: str) -> None:
    reply = await api.put(f"/v2/queues/{name}")
    assert (reply.status, reply.json()["title"]) == (400, "Invalid queue identification")
