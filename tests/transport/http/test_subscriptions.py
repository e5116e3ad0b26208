"""Subscriptions over HTTP: contract http-v2 §5, and what crashed elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest

from nuska.core import Core
from nuska.core.subscriptions import SubscriptionChange
from nuska.domain.limits import MAX_SUBSCRIPTION_OPTIONS
from nuska.interfaces.identity import Caller
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock

QUEUE = "/v2/queues/jobs"
SUBSCRIPTIONS = f"{QUEUE}/subscriptions"
KEYLESS = "the server has no signing_key"
HOOK = "https://hooks.example.net/in"


async def subscribe(api: AsgiDriver, subscriber: str = HOOK, **more: Any) -> str:
    reply = await api.post(SUBSCRIPTIONS, {"subscriber": subscriber, **more})
    assert reply.status == 201, reply.body
    return reply.json()["subscription_id"]


async def test_a_new_subscription_is_shown_as_the_contract_says(
    api: AsgiDriver, clock: ManualClock
) -> None:
    reply = await api.post(SUBSCRIPTIONS, {"subscriber": HOOK, "unknown": True})
    assert reply.status == 201
    assert reply.headers["location"] == SUBSCRIPTIONS
    assert list(reply.json()) == ["subscription_id"]
    id_ = reply.json()["subscription_id"]
    clock.advance(seconds=25)
    shown = await api.get(f"{SUBSCRIPTIONS}/{id_}")
    expected = {
        "id": id_,
        "source": "jobs",
        "subscriber": HOOK,
        "ttl": 3600,
        "age": 25,
        "options": {},
        "confirmed": False,
    }
    assert (shown.status, shown.json()) == (200, expected)
    assert [q["name"] for q in (await api.get("/v2/queues")).json()["queues"]] == ["jobs"]


async def test_one_who_has_yet_to_confirm_is_shown_to_wait_wherever_he_is_shown(
    api: AsgiDriver,
) -> None:
    id_ = await subscribe(api, "mailto:ann@example.org")
    one, waiting = f"{SUBSCRIPTIONS}/{id_}", {"for": "confirmation", "problem": KEYLESS}
    assert (await api.get(one)).json()["waiting"] == waiting
    assert (await api.get(SUBSCRIPTIONS)).json()["subscriptions"][0]["waiting"] == waiting
    log = (await api.get(f"{one}/attempts")).json()
    assert log == {"attempts": [], "trouble": None, "waiting": waiting, "links": []}
    stats = (await api.get(f"{one}/stats?since=60")).json()
    assert stats.pop("since") == "2029-12-31T23:59:00Z"
    assert stats == {
        "state": "waiting",
        "attempts": 0,
        "succeeded": 0,
        "success_rate": None,
        "complete": True,
        "last_success": None,
        "last_failure": None,
        "breaker": "closed",
        "trouble": None,
        "disabled": None,
        "waiting": waiting,
    }
    for target, status in ((f"{one}/stats?since=-1", 400), (f"{one[:-1]}x/stats", 404)):
        assert (await api.get(target)).status == status


async def test_a_list_goes_by_id_and_page_by_page(api: AsgiDriver) -> None:
    ids = sorted([await subscribe(api, f"{HOOK}/{number}") for number in range(25)])
    seen, target = [], f"{SUBSCRIPTIONS}?limit=10"
    while True:
        page = (await api.get(target)).json()
        if not page["subscriptions"]:
            assert page["links"] == []
            break
        seen += [item["id"] for item in page["subscriptions"]]
        target = page["links"][0]["href"]
        assert target.startswith(f"{SUBSCRIPTIONS}?limit=10&marker=")
    assert seen == ids


async def test_the_list_of_a_missing_queue_is_empty(api: AsgiDriver) -> None:
    reply = await api.get(SUBSCRIPTIONS)
    assert (reply.status, reply.json()) == (200, {"subscriptions": [], "links": []})


async def test_pages_have_their_limit(api: AsgiDriver, make_api: Callable[..., AsgiDriver]) -> None:
    assert (await api.get(f"{SUBSCRIPTIONS}?limit=20")).status == 200
    for limit in ("0", "21", "x"):
        assert (await api.get(f"{SUBSCRIPTIONS}?limit={limit}")).status == 400
    assert (
        await make_api(max_subscriptions_per_page=5).get(f"{SUBSCRIPTIONS}?limit=6")
    ).status == 400


async def test_a_repeated_subscription_is_the_same_until_it_is_confirmed(api: AsgiDriver) -> None:
    id_ = await subscribe(api, options={"a": 1})
    assert await subscribe(api) == id_
    assert await subscribe(api, options={"b": 2}, ttl=90) == id_
    shown = (await api.get(f"{SUBSCRIPTIONS}/{id_}")).json()
    assert (shown["options"], shown["ttl"]) == ({"b": 2}, 90)
    confirm = f"{SUBSCRIPTIONS}/{id_}/confirm"
    confirmed = await api.put(confirm, {"confirmed": True})
    assert (confirmed.status, confirmed.headers["location"]) == (204, confirm)
    again = await api.post(SUBSCRIPTIONS, {"subscriber": HOOK})
    assert (again.status, again.headers["location"]) == (409, SUBSCRIPTIONS)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        [],
        {},
        "{",
        {"subscriber": ""},
        {"subscriber": 7},
        {"subscriber": None},
        {"subscriber": "ftp://example.net"},
        {"subscriber": "HTTPX://example.net"},
        {"subscriber": HOOK, "ttl": None},
        {"subscriber": HOOK, "ttl": 0},
        {"subscriber": HOOK, "ttl": 59},
        {"subscriber": HOOK, "ttl": True},
        {"subscriber": HOOK, "ttl": "90"},
        {"subscriber": HOOK, "ttl": 90.5},
        {"subscriber": HOOK, "ttl": 2**63},
        {"subscriber": HOOK, "ttl": 253_402_300_799},
        {"subscriber": HOOK, "options": [1]},
        {"subscriber": HOOK, "options": "x"},
        {"subscriber": HOOK, "options": {"_retry_policy": {"minimum_delay": 30}}},
        {"subscriber": HOOK, "options": {"filter": {"nonsense": 1}}},
        {"subscriber": HOOK, "options": {"ordered": "yes"}},
        {"subscriber": HOOK, "options": {"signing_secrets": ["short"]}},
        {"subscriber": HOOK, "options": {"x": "x" * MAX_SUBSCRIPTION_OPTIONS}},
        {"subscriber": "trust+https://flow.example.net/executions"},
    ],
)
async def test_what_is_malformed_gets_400_and_creates_nothing(api: AsgiDriver, body: Any) -> None:
    reply = await api.post(SUBSCRIPTIONS, body)
    assert reply.status == 400, reply.body
    assert reply.json()["description"]
    assert (await api.get("/v2/queues")).json()["queues"] == []


async def test_a_body_beyond_every_subscription_is_not_read(api: AsgiDriver) -> None:
    reply = await api.post(SUBSCRIPTIONS, b" " * 100_000 + b"{}")
    assert reply.status == 400
    assert "maximum" in reply.json()["description"]


@pytest.mark.parametrize("ttl", [60, 220_367_260_800, 2**36])
async def test_the_ttls_of_clients_are_taken(api: AsgiDriver, ttl: int) -> None:
    id_ = await subscribe(api, ttl=ttl, options=None)
    shown = (await api.get(f"{SUBSCRIPTIONS}/{id_}")).json()
    assert (shown["ttl"], shown["options"]) == (ttl, {})


async def test_a_scheme_may_be_written_in_capitals(api: AsgiDriver) -> None:
    id_ = await subscribe(api, "HTTPS://hooks.example.net/in")
    shown = (await api.get(f"{SUBSCRIPTIONS}/{id_}")).json()
    assert shown["subscriber"] == "HTTPS://hooks.example.net/in"


async def test_a_patch_changes_what_it_names(api: AsgiDriver, clock: ManualClock) -> None:
    id_ = await subscribe(api, options={"a": 1, "b": 2})
    one = f"{SUBSCRIPTIONS}/{id_}"
    clock.advance(seconds=30)
    reply = await api.patch(one, {"options": {"a": 2}, "unknown": 1})
    assert (reply.status, reply.headers["location"]) == (204, one)
    assert (await api.get(one)).json()["options"] == {"a": 2}
    assert (await api.get(one)).json()["age"] == 30
    assert (await api.patch(one, {"ttl": 300})).status == 204
    shown = (await api.get(one)).json()
    assert (shown["ttl"], shown["age"]) == (300, 0)


@pytest.mark.parametrize(
    "body",
    [b"", {}, {"unknown": 1}, [], {"ttl": None}, {"ttl": 59}, {"subscriber": ""}, {"options": 1}],
)
async def test_a_patch_that_says_nothing_or_nonsense_gets_400(api: AsgiDriver, body: Any) -> None:
    id_ = await subscribe(api)
    assert (await api.patch(f"{SUBSCRIPTIONS}/{id_}", body)).status == 400


async def test_a_patch_of_the_subscriber_resets_confirmed_and_respects_others(
    api: AsgiDriver,
) -> None:
    id_, other = await subscribe(api), await subscribe(api, f"{HOOK}/2")
    one = f"{SUBSCRIPTIONS}/{id_}"
    await api.put(f"{one}/confirm", {"confirmed": True})
    assert (await api.patch(one, {"subscriber": f"{HOOK}/2"})).status == 409
    assert (await api.get(one)).json()["confirmed"] is True
    assert (await api.patch(one, {"subscriber": f"{HOOK}/3"})).status == 204
    assert (await api.get(one)).json()["confirmed"] is False
    assert other != id_


async def test_what_is_not_there_is_404_or_deleted_already(api: AsgiDriver) -> None:
    id_ = await subscribe(api)
    places = [
        (api, f"{SUBSCRIPTIONS}/nonsense"),
        (api, f"/v2/queues/others/subscriptions/{id_}"),
        (api.with_headers(X_Project_Id="other"), f"{SUBSCRIPTIONS}/{id_}"),
    ]
    for client, one in places:
        assert (await client.get(one)).status == 404
        assert (await client.patch(one, {"ttl": 60})).status == 404
        assert (await client.put(f"{one}/confirm", {"confirmed": True})).status == 404
        assert (await client.delete(one)).status == 204
    assert (await api.get(f"{SUBSCRIPTIONS}/{id_}")).status == 200
    for _ in range(2):
        assert (await api.delete(f"{SUBSCRIPTIONS}/{id_}")).status == 204
    assert (await api.get(f"{SUBSCRIPTIONS}/{id_}")).status == 404


@pytest.mark.parametrize(
    "body", [b"", {}, [], {"confirmed": None}, {"confirmed": 1}, {"confirmed": "true"}]
)
async def test_an_answer_is_true_or_false(api: AsgiDriver, body: Any) -> None:
    id_ = await subscribe(api)
    assert (await api.put(f"{SUBSCRIPTIONS}/{id_}/confirm", body)).status == 400


async def test_who_says_no_is_disabled_with_a_reason(api: AsgiDriver) -> None:
    id_ = await subscribe(api)
    assert (await api.put(f"{SUBSCRIPTIONS}/{id_}/confirm", {"confirmed": False})).status == 204
    shown = (await api.get(f"{SUBSCRIPTIONS}/{id_}")).json()
    assert shown["disabled"] == {
        "reason": "The subscriber does not want to be told any more.",
        "at": "2030-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("types", "left"),
    [
        (None, (0, 0)),
        (["messages"], (0, 1)),
        (["subscriptions"], (1, 0)),
        (["messages", "subscriptions"], (0, 0)),
        ([], (1, 1)),
    ],
)
async def test_a_purge_clears_what_it_names(
    api: AsgiDriver, types: list[str] | None, left: tuple[int, int]
) -> None:
    await subscribe(api)
    await api.post(f"{QUEUE}/messages", {"messages": [{"body": 1}]})
    body = None if types is None else {"resource_types": types}
    assert (await api.post(f"{QUEUE}/purge", body)).status == 204
    messages = (await api.get(f"{QUEUE}/messages?echo=true")).json()["messages"]
    subscriptions = (await api.get(SUBSCRIPTIONS)).json()["subscriptions"]
    assert (len(messages), len(subscriptions)) == left


async def test_a_deleted_queue_leaves_its_subscriptions(api: AsgiDriver) -> None:
    id_ = await subscribe(api)
    assert (await api.delete(QUEUE)).status == 204
    assert (await api.get(f"{SUBSCRIPTIONS}/{id_}")).status == 200


async def test_messagepack_is_taken_and_given(api: AsgiDriver) -> None:
    id_ = await subscribe(api)
    reply = await api.get(f"{SUBSCRIPTIONS}/{id_}", headers={"Accept": "application/msgpack"})
    assert reply.headers["content-type"] == "application/msgpack"


@pytest.mark.parametrize(
    ("target", "allow"),
    [
        (SUBSCRIPTIONS, "GET, POST, OPTIONS"),
        (f"{SUBSCRIPTIONS}/x", "GET, PATCH, DELETE, OPTIONS"),
        (f"{SUBSCRIPTIONS}/x/confirm", "PUT, OPTIONS"),
    ],
)
async def test_other_methods_are_405_with_what_there_is(
    api: AsgiDriver, target: str, allow: str
) -> None:
    other = "POST" if "PUT" in allow else "PUT"
    reply = await api.request(other, target)
    assert (reply.status, reply.headers["allow"]) == (405, allow)


async def test_no_subscription_of_another_project_is_seen(api: AsgiDriver, core: Core) -> None:
    id_ = await subscribe(api)
    other = Caller("other")
    assert await core.subscriptions.page(other, "jobs") == []
    await core.subscriptions.purge(other, "jobs")
    change = SubscriptionChange(ttl=90)
    assert (await core.subscriptions.update(Caller("acme"), "jobs", id_, change)).id == id_


async def test_no_project_is_named_like_a_queue_of_the_service(api: AsgiDriver) -> None:
    reply = await api.with_headers(X_Project_Id="\x1ftopics\x1facme").get(SUBSCRIPTIONS)
    assert reply.status == 400


async def test_signing_secrets_are_never_shown_and_kept_by_who_did_not_see_them(
    api: AsgiDriver, core: Core
) -> None:
    secret = "whsec_" + "QUJD" * 11
    id_ = await subscribe(api, options={"signing_secrets": [secret], "a": 1})
    one = f"{SUBSCRIPTIONS}/{id_}"
    options = (await api.get(one)).json()["options"]
    assert options == {"signing_secrets": ["***"], "a": 1}
    assert secret.encode() not in (await api.get(SUBSCRIPTIONS)).body
    assert (await api.patch(one, {"options": {**options, "a": 2}})).status == 204
    stored = await core.subscriptions.get(Caller("acme"), "jobs", id_)
    assert stored.options == {"signing_secrets": [secret], "a": 2}
