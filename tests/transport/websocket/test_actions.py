"""Every action, over real sockets and in both encodings, beside the HTTP request that does the
same: same outcome, same limits (I10)."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from msgspec import Struct

from nuska.domain.attributes import OURS
from nuska.testing.websocket_client import CLIENT, Talk, talking
from nuska.transport.http.app import all_routes
from nuska.transport.websocket.actions.table import ACTIONS

Http = Callable[..., Any]
BY_HTTP, BY_WS = "by-http", "by-ws"


class Row(Struct, frozen=True, kw_only=True):
    """The same thing asked in two ways. In texts ``{free}``, ``{held}`` and ``{claim}`` stand for
    ids of the queue's two messages and its claim."""

    name: str
    action: str
    body: dict[str, Any] = {}
    method: str = "GET"
    path: str = ""
    """Below ``/v2/queues``."""
    sent: Any = None
    status: int
    http_status: int | None = None
    """Where HTTP says it otherwise."""


def row(
    name: str, action: str, status: int, /, *http: Any, also: int | None = None, **body: Any
) -> Row:
    method, path, *sent = http
    return Row(
        name=name,
        action=action,
        body={"queue_name": "jobs", **body} if action != "queue_list" else body,
        method=method,
        path=path,
        sent=sent[0] if sent else None,
        status=status,
        http_status=also,
    )


NOBODY = "0" * 24
ROWS = [
    row("a list of queues", "queue_list", 200, "GET", ""),
    row("a page of queues", "queue_list", 200, "GET", "?limit=1&marker=a", limit=1, marker="a"),
    row("a detailed list", "queue_list", 200, "GET", "?detailed=true", detailed=True),
    row("a page of 21", "queue_list", 400, "GET", "?limit=21", limit=21),
    row("a page of 0", "queue_list", 400, "GET", "?limit=0", limit=0),
    row("a queue that is new", "queue_create", 201, "PUT", "/new", {}, queue_name="new"),
    row("a queue that is there", "queue_create", 204, "PUT", "/jobs", {}),
    row(
        "a queue with metadata",
        "queue_create",
        201,
        "PUT",
        "/other",
        {"a": [1, 2.5]},
        queue_name="other",
        metadata={"a": [1, 2.5]},
    ),
    row(
        "a default ttl too short",
        "queue_create",
        400,
        "PUT",
        "/other",
        {"_default_message_ttl": 59},
        queue_name="other",
        metadata={"_default_message_ttl": 59},
    ),
    row("a bad name", "queue_create", 400, "PUT", "/a:b", {}, queue_name="a:b"),
    row("a name of 65", "queue_create", 400, "PUT", "/" + "a" * 65, {}, queue_name="a" * 65),
    row("a queue", "queue_get", 200, "GET", "/jobs"),
    row("a queue that is missing", "queue_get", 200, "GET", "/none", queue_name="none"),
    row("stats", "queue_get_stats", 200, "GET", "/jobs/stats"),
    row("no stats", "queue_get_stats", 404, "GET", "/none/stats", queue_name="none", also=200),
    row("an end of a queue", "queue_delete", 204, "DELETE", "/jobs"),
    row("an end of nothing", "queue_delete", 204, "DELETE", "/none", queue_name="none"),
    row(
        "a purge of messages",
        "queue_purge",
        204,
        "POST",
        "/jobs/purge",
        {"resource_types": ["messages"]},
        resource_types=["messages"],
    ),
    row(
        "a post",
        "message_post",
        201,
        "POST",
        "/jobs/messages",
        {"messages": [{"body": {"a": "ü"}, "ttl": 60}]},
        messages=[{"body": {"a": "ü"}, "ttl": 60}],
    ),
    row(
        "a ttl of 59",
        "message_post",
        400,
        "POST",
        "/jobs/messages",
        {"messages": [{"body": 1, "ttl": 59}]},
        messages=[{"body": 1, "ttl": 59}],
    ),
    *(
        row(
            f"an attribute {name}",
            "message_post",
            400,
            "POST",
            "/jobs/messages",
            {"messages": [{"body": 1, "attributes": {name: 1}}]},
            messages=[{"body": 1, "attributes": {name: 1}}],
        )
        for name in OURS
    ),
    row(
        "a ttl of text",
        "message_post",
        400,
        "POST",
        "/jobs/messages",
        {"messages": [{"body": 1, "ttl": "60"}]},
        messages=[{"body": 1, "ttl": "60"}],
    ),
    row(
        "no messages", "message_post", 400, "POST", "/jobs/messages", {"messages": []}, messages=[]
    ),
    row(
        "no body",
        "message_post",
        400,
        "POST",
        "/jobs/messages",
        {"messages": [{"ttl": 60}]},
        messages=[{"ttl": 60}],
    ),
    row(
        "one that is no object",
        "message_post",
        400,
        "POST",
        "/jobs/messages",
        {"messages": [1]},
        messages=[1],
    ),
    row(
        "attributes of text",
        "message_post",
        400,
        "POST",
        "/jobs/messages",
        {"messages": [{"body": 1, "attributes": "a"}]},
        messages=[{"body": 1, "attributes": "a"}],
    ),
    row("a listing", "message_list", 200, "GET", "/jobs/messages?echo=true", echo=True),
    row(
        "a listing with the claimed",
        "message_list",
        200,
        "GET",
        "/jobs/messages?echo=true&include_claimed=true&limit=20&attributes=true",
        echo=True,
        include_claimed=True,
        limit=20,
        attributes=True,
    ),
    row(
        "a listing after a message",
        "message_list",
        200,
        "GET",
        "/jobs/messages?echo=true&marker={held}",
        echo=True,
        marker="{held}",
    ),
    row("a listing of what others posted", "message_list", 200, "GET", "/jobs/messages"),
    row("a listing of 21", "message_list", 400, "GET", "/jobs/messages?limit=21", limit=21),
    row(
        "a listing of a missing queue",
        "message_list",
        200,
        "GET",
        "/none/messages",
        queue_name="none",
    ),
    row("a wait below 0", "message_list", 400, "GET", "/jobs/messages?wait=-1", wait=-1),
    row("a message", "message_get", 200, "GET", "/jobs/messages/{free}", message_id="{free}"),
    row(
        "a claimed message", "message_get", 200, "GET", "/jobs/messages/{held}", message_id="{held}"
    ),
    row(
        "a message that is not there",
        "message_get",
        404,
        "GET",
        "/jobs/messages/" + "0" * 32,
        message_id="0" * 32,
    ),
    row(
        "some messages",
        "message_get_many",
        200,
        "GET",
        "/jobs/messages?ids={free},{held},x",
        message_ids=["{free}", "{held}", "x"],
    ),
    row(
        "none of the messages",
        "message_get_many",
        200,
        "GET",
        "/jobs/messages?ids=x",
        message_ids=["x"],
        also=404,
    ),
    row(
        "too many messages",
        "message_get_many",
        400,
        "GET",
        "/jobs/messages?ids=" + ",".join("x" * 21),
        message_ids=["x"] * 21,
    ),
    row(
        "an end of a message",
        "message_delete",
        204,
        "DELETE",
        "/jobs/messages/{free}",
        message_id="{free}",
    ),
    row(
        "an end of a claimed one",
        "message_delete",
        403,
        "DELETE",
        "/jobs/messages/{held}",
        message_id="{held}",
    ),
    row(
        "an end by its claim",
        "message_delete",
        204,
        "DELETE",
        "/jobs/messages/{held}?claim_id={claim}",
        message_id="{held}",
        claim_id="{claim}",
    ),
    row(
        "an end by another claim",
        "message_delete",
        400,
        "DELETE",
        f"/jobs/messages/{{held}}?claim_id={NOBODY}",
        message_id="{held}",
        claim_id=NOBODY,
    ),
    row("an end of nobody", "message_delete", 204, "DELETE", "/jobs/messages/x", message_id="x"),
    row(
        "an end of many",
        "message_delete_many",
        204,
        "DELETE",
        "/jobs/messages?ids={free},x",
        message_ids=["{free}", "x"],
    ),
    row("a pop", "message_delete_many", 200, "DELETE", "/jobs/messages?pop=1", pop=1),
    row("a pop of 21", "message_delete_many", 400, "DELETE", "/jobs/messages?pop=21", pop=21),
    row("a pop of 0", "message_delete_many", 400, "DELETE", "/jobs/messages?pop=0", pop=0),
    row(
        "a pop of what is named",
        "message_delete_many",
        400,
        "DELETE",
        "/jobs/messages?pop=1&ids={free}",
        pop=1,
        message_ids=["{free}"],
    ),
    row("an end of nothing named", "message_delete_many", 400, "DELETE", "/jobs/messages"),
    row("a claim", "claim_create", 201, "POST", "/jobs/claims", {}),
    row(
        "a claim with terms",
        "claim_create",
        201,
        "POST",
        "/jobs/claims?limit=1",
        {"ttl": 60, "grace": 60},
        ttl=60,
        grace=60,
        limit=1,
    ),
    row(
        "a claim of nulls",
        "claim_create",
        201,
        "POST",
        "/jobs/claims",
        {"ttl": None, "grace": None},
        ttl=None,
        grace=None,
    ),
    row("a claim of nothing", "claim_create", 204, "POST", "/none/claims", {}, queue_name="none"),
    row("a claim of 59 seconds", "claim_create", 400, "POST", "/jobs/claims", {"ttl": 59}, ttl=59),
    row("a claim of text", "claim_create", 400, "POST", "/jobs/claims", {"ttl": "60"}, ttl="60"),
    row(
        "a grace too long",
        "claim_create",
        400,
        "POST",
        "/jobs/claims",
        {"grace": 43201},
        grace=43201,
    ),
    row("a claim of 21", "claim_create", 400, "POST", "/jobs/claims?limit=21", {}, limit=21),
    row("a claim seen", "claim_get", 200, "GET", "/jobs/claims/{claim}", claim_id="{claim}"),
    row("no claim seen", "claim_get", 404, "GET", f"/jobs/claims/{NOBODY}", claim_id=NOBODY),
    row(
        "a claim renewed",
        "claim_update",
        204,
        "PATCH",
        "/jobs/claims/{claim}",
        {"ttl": 100},
        claim_id="{claim}",
        ttl=100,
    ),
    row(
        "no claim renewed",
        "claim_update",
        404,
        "PATCH",
        f"/jobs/claims/{NOBODY}",
        {"ttl": 100},
        claim_id=NOBODY,
        ttl=100,
    ),
    row(
        "a renewal of 59",
        "claim_update",
        400,
        "PATCH",
        "/jobs/claims/{claim}",
        {"ttl": 59},
        claim_id="{claim}",
        ttl=59,
    ),
    row(
        "a claim released",
        "claim_delete",
        204,
        "DELETE",
        "/jobs/claims/{claim}",
        claim_id="{claim}",
    ),
    row(
        "no claim released",
        "claim_delete",
        204,
        "DELETE",
        f"/jobs/claims/{NOBODY}",
        claim_id=NOBODY,
    ),
    row(
        "a subscription",
        "subscription_create",
        201,
        "POST",
        "/jobs/subscriptions",
        {"subscriber": "http://example.org/new", "ttl": 60, "options": {}},
        subscriber="http://example.org/new",
        ttl=60,
        options={},
    ),
    row(
        "a subscriber of no kind",
        "subscription_create",
        400,
        "POST",
        "/jobs/subscriptions",
        {"subscriber": "fax:1"},
        subscriber="fax:1",
    ),
    row(
        "a subscription of 59",
        "subscription_create",
        400,
        "POST",
        "/jobs/subscriptions",
        {"subscriber": "http://example.org/", "ttl": 59},
        subscriber="http://example.org/",
        ttl=59,
    ),
    row(
        "a filter that is none",
        "subscription_create",
        400,
        "POST",
        "/jobs/subscriptions",
        {"subscriber": "http://example.org/", "options": {"filter": 1}},
        subscriber="http://example.org/",
        options={"filter": 1},
    ),
    row("subscriptions", "subscription_list", 200, "GET", "/jobs/subscriptions"),
    row(
        "21 subscriptions",
        "subscription_list",
        400,
        "GET",
        "/jobs/subscriptions?limit=21",
        limit=21,
    ),
    row(
        "a subscription seen",
        "subscription_get",
        200,
        "GET",
        "/jobs/subscriptions/{sub}",
        subscription_id="{sub}",
    ),
    row(
        "no subscription seen",
        "subscription_get",
        404,
        "GET",
        f"/jobs/subscriptions/{NOBODY}",
        subscription_id=NOBODY,
    ),
    row(
        "an end of a subscription",
        "subscription_delete",
        204,
        "DELETE",
        "/jobs/subscriptions/{sub}",
        subscription_id="{sub}",
    ),
]


def filled(value: Any, ids: dict[str, str]) -> Any:
    """``value`` with ids in place of their names."""
    text = json.dumps(value)
    for name, id_ in ids.items():
        text = text.replace(f"{{{name}}}", id_)
    return json.loads(text)


class Web:
    """The other way to the same server."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base

    async def ask(self, project: str, method: str, path: str, sent: Any = None) -> tuple[int, Any]:
        headers = {"Client-ID": CLIENT, "X-Project-Id": project}
        url = f"{self._base}/v2/queues{path}"
        async with self._session.request(method, url, json=sent, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None


@pytest.fixture
async def web(served: Any) -> AsyncIterator[Web]:
    async with aiohttp.ClientSession() as session:
        yield Web(session, served.http)


async def furnish(web: Web, project: str) -> dict[str, str]:
    """A queue with two messages, one of them claimed, and a subscription; their ids."""
    await web.ask(project, "PUT", "/jobs", {"color": "red"})
    posted = {"messages": [{"body": 1, "ttl": 300}, {"body": 2, "ttl": 400}]}
    _, made = await web.ask(project, "POST", "/jobs/messages", posted)
    held, free = (href.rpartition("/")[2] for href in made["resources"])
    _, taken = await web.ask(project, "POST", "/jobs/claims?limit=1", {})
    claim = taken["messages"][0]["href"].rpartition("=")[2]
    subscriber = {"subscriber": "http://example.org/old"}
    _, subscribed = await web.ask(project, "POST", "/jobs/subscriptions", subscriber)
    return {"held": held, "free": free, "claim": claim, "sub": subscribed["subscription_id"]}


@pytest.mark.parametrize("binary", [False, True], ids=["JSON", "MessagePack"])
@pytest.mark.parametrize("asked", ROWS, ids=lambda row: row.name)
async def test_an_action_has_the_outcome_of_its_http_request(
    served: Any, web: Web, asked: Row, binary: bool
) -> None:
    by_http = await furnish(web, BY_HTTP)
    by_ws = await furnish(web, BY_WS)
    async with talking(served.ws, binary=binary, project=BY_WS) as talk:
        answered = await talk.ask(asked.action, **filled(asked.body, by_ws))
    path, sent = filled([asked.path, asked.sent], by_http)
    status, body = await web.ask(BY_HTTP, asked.method, path, sent)
    assert (answered.status, status) == (asked.status, asked.http_status or asked.status)
    if status >= 400 and answered.status >= 400 and "title" in answered.body:
        assert answered.body["title"] == body["title"]
    assert await left(web, BY_WS) == await left(web, BY_HTTP)


async def left(web: Web, project: str) -> Any:
    """What there is afterwards, without ids and times."""
    _, queues = await web.ask(project, "GET", "?detailed=true")
    _, stats = await web.ask(project, "GET", "/jobs/stats")
    _, messages = await web.ask(project, "GET", "/jobs/messages?echo=true&include_claimed=true")
    _, subscriptions = await web.ask(project, "GET", "/jobs/subscriptions")
    return (
        [(queue["name"], queue["metadata"]) for queue in queues["queues"]],
        {name: stats["messages"][name] for name in ("claimed", "free", "total")},
        [(message["body"], message["ttl"]) for message in messages["messages"]],
        [
            (found["subscriber"], found["ttl"], found["confirmed"])
            for found in subscriptions["subscriptions"]
        ],
    )


def test_every_action_of_the_contract_is_in_the_table_and_has_its_twin() -> None:
    tried = {row.action for row in ROWS}
    elsewhere = {name for name, action in ACTIONS.items() if action.twin is None}
    assert tried | elsewhere == set(ACTIONS)
    assert "authenticate" in elsewhere
    assert len(tried) == 20


async def test_twins_are_operations_with_the_same_permission(served: Any) -> None:
    operations = {
        operation.name: operation.action
        for route in all_routes(served.core)
        for operation in route.operations
    }
    for action in ACTIONS.values():
        if action.twin is not None:
            assert action.permission == operations[action.twin], action.name


# What replies look like (contract websocket-v2 §5)


@pytest.fixture(params=[False, True], ids=["JSON", "MessagePack"])
async def talk(served: Any, request: pytest.FixtureRequest) -> AsyncIterator[Talk]:
    async with talking(served.ws, binary=request.param) as talk:
        yield talk


async def post(talk: Talk, *bodies: Any, queue: str = "jobs") -> list[str]:
    messages = [{"body": body, "ttl": 300} for body in bodies]
    posted = await talk.ask("message_post", queue_name=queue, messages=messages)
    assert posted.status == 201
    ids: list[str] = posted.body["message_ids"]
    return ids


async def test_replies_about_queues_have_the_contracts_shapes(talk: Talk) -> None:
    made = await talk.ask("queue_create", queue_name="jobs", metadata={"color": "red"})
    assert made.body == "Queue jobs created."
    assert (await talk.ask("queue_create", queue_name="jobs")).body == "Queue jobs created."
    assert (await talk.ask("queue_get", queue_name="jobs")).body == {"color": "red"}
    assert (await talk.ask("queue_get", queue_name="none")).body == {}
    listed = await talk.ask("queue_list")
    assert listed.body == {"queues": [{"name": "jobs"}], "marker": "jobs"}
    detailed = await talk.ask("queue_list", detailed=True)
    assert detailed.body["queues"] == [{"name": "jobs", "metadata": {"color": "red"}}]
    assert (await talk.ask("queue_list", marker="jobs")).body == {"queues": []}
    empty = await talk.ask("queue_get_stats", queue_name="none")
    assert (empty.status, empty.body) == (404, {"messages": {"claimed": 0, "free": 0, "total": 0}})
    [id_] = await post(talk, 1)
    oldest = {"id": id_, "age": 0, "created": "2030-01-01T00:00:00Z"}
    assert (await talk.ask("queue_get_stats", queue_name="jobs")).body == {
        "messages": {"claimed": 0, "free": 1, "total": 1, "oldest": oldest, "newest": oldest}
    }
    assert (await talk.ask("queue_purge", queue_name="jobs")).body == {}
    assert (await talk.ask("queue_delete", queue_name="jobs")).body == "Queue jobs removed."


async def test_replies_about_messages_have_the_contracts_shapes(talk: Talk) -> None:
    first, second = await post(talk, {"job": 17}, "ü")
    one = {"id": first, "claim_id": None, "ttl": 300, "age": 0, "body": {"job": 17}}
    two = {**one, "id": second, "body": "ü"}
    listed = (await talk.ask("message_list", queue_name="jobs", echo=True, limit=1)).body
    assert listed["messages"] == [one]
    after = await talk.ask("message_list", queue_name="jobs", echo=True, marker=listed["marker"])
    assert after.body["messages"] == [two]
    got = await talk.ask("message_get", queue_name="jobs", message_id=first)
    assert got.body == {"messages": one}
    many = await talk.ask("message_get_many", queue_name="jobs", message_ids=[second, "x", first])
    assert many.body == {"messages": [two, one]}
    assert (await talk.ask("message_delete", queue_name="jobs", message_id=second)).body == {}
    popped = await talk.ask("message_delete_many", queue_name="jobs", pop=5)
    raw = {"id": first, "age": 0, "ttl": 300, "body": {"job": 17}, "claim_id": None}
    assert popped.body == {"messages": [{**raw, "claim_count": 0}]}


async def test_replies_about_claims_have_the_contracts_shapes(talk: Talk) -> None:
    nothing = await talk.ask("claim_create", queue_name="jobs")
    assert (nothing.status, nothing.body) == (204, {"claim_id": None})
    [id_] = await post(talk, 1)
    taken = (await talk.ask("claim_create", queue_name="jobs", ttl=60, grace=60)).body
    claim = taken["claim_id"]
    message = {"id": id_, "claim_id": claim, "ttl": 300, "age": 0, "body": 1}
    assert taken == {"claim_id": claim, "messages": [message]}
    seen = await talk.ask("claim_get", queue_name="jobs", claim_id=claim)
    assert seen.body == {"age": 0, "ttl": 60, "messages": [message]}
    renewed = await talk.ask("claim_update", queue_name="jobs", claim_id=claim, ttl=120)
    assert renewed.body == f"Claim {claim} updated."
    ended = await talk.ask("claim_delete", queue_name="jobs", claim_id=claim)
    assert ended.body == f"Claim {claim} deleted."


async def test_replies_about_subscriptions_have_the_contracts_shapes(talk: Talk) -> None:
    body = {"queue_name": "jobs", "subscriber": "http://example.org/", "ttl": 100}
    made = (await talk.ask("subscription_create", **body)).body
    id_ = made["subscription_id"]
    assert made == {"subscription_id": id_, "message": "Subscription jobs created."}
    again = await talk.ask("subscription_create", **body)
    assert (again.status, again.body) == (409, "Subscription jobs not created.")
    shown = {
        "id": id_,
        "source": "jobs",
        "subscriber": "http://example.org/",
        "ttl": 100,
        "age": 0,
        "options": {},
    }
    seen = (await talk.ask("subscription_get", queue_name="jobs", subscription_id=id_)).body
    assert {name: seen[name] for name in shown} == shown
    listed = (await talk.ask("subscription_list", queue_name="jobs")).body
    assert listed == {"subscriptions": [seen], "marker": id_}
    removed = await talk.ask("subscription_delete", queue_name="jobs", subscription_id=id_)
    assert removed.body == f"Subscription {id_} removed."


async def test_delays_and_attributes_are_honoured_here_too(talk: Talk) -> None:
    await talk.ask("queue_create", queue_name="slow", metadata={"_default_message_delay": 10})
    message = {"body": 1, "delay": 60, "attributes": {"lang": "en"}}
    await talk.ask("message_post", queue_name="slow", messages=[message])
    assert (await talk.ask("message_list", queue_name="slow", echo=True)).body == {"messages": []}
    shown = await talk.ask(
        "message_list", queue_name="slow", echo=True, include_delayed=True, attributes=True
    )
    [found] = shown.body["messages"]
    assert (found["attributes"], found["delay"]) == ({"lang": "en"}, 60)


async def test_a_post_with_a_key_is_stored_once(talk: Talk) -> None:
    headers = {"Idempotency-Key": "order-1"}
    body = {"queue_name": "jobs", "messages": [{"body": 1}]}
    first = await talk.ask("message_post", headers, **body)
    again = await talk.ask("message_post", headers, **body)
    assert first.body == again.body
    other = await talk.ask("message_post", headers, queue_name="jobs", messages=[{"body": 2}])
    assert other.status == 409


@pytest.mark.parametrize("size", [-1, 0, 1])
async def test_a_post_may_be_exactly_as_large_as_over_http(
    served: Any, web: Web, size: int
) -> None:
    limit = served.core.limits.max_messages_post_size
    filler = limit + size - len(json.dumps({"messages": [{"body": ""}]}, separators=(",", ":")))
    messages = [{"body": "x" * filler}]
    async with talking(served.ws) as talk:
        text = json.dumps(
            {
                "action": "message_post",
                "headers": talk.headers,
                "body": {"queue_name": "jobs", "messages": messages},
            },
            separators=(",", ":"),
        )
        await talk.connection.send(text)
        answered = await talk.reply()
    data = json.dumps({"messages": messages}, separators=(",", ":"))
    headers = {"Client-ID": CLIENT, "X-Project-Id": BY_HTTP, "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as session:
        url = f"{served.http}/v2/queues/jobs/messages"
        async with session.post(url, data=data, headers=headers) as answer:
            status = answer.status
            description = (await answer.json()).get("description")
    expected = 201 if size <= 0 else 400
    assert (answered.status, status) == (expected, expected)
    if size > 0:
        assert answered.body["exception"] == description


@pytest.mark.parametrize("name", sorted(n for n, a in ACTIONS.items() if a.twin is None))
async def test_what_only_http_has_is_answered_and_the_connection_stays(
    talk: Talk, name: str
) -> None:
    if name != "authenticate":
        answered = await talk.ask(name)
        assert answered.status == 501
        assert "HTTP" in answered.body["error"]
    assert (await talk.ask("queue_list")).status == 200
