"""Quotas over HTTP: who is too fast, who may see and set what, and what is shown."""

import asyncio
from typing import Any

import pytest

from nuska.core import Core, build_core
from nuska.domain.errors import NotAuthenticated
from nuska.domain.limits import Limits
from nuska.domain.quotas import NAMES, Quota
from nuska.identity.chosen import ChosenIdentity
from nuska.identity.none import NoAuthentication
from nuska.interfaces.identity import Verified
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver
from nuska.testing.clock import ManualClock
from nuska.transport.http import build_app

from .conftest import ALICE, HEADERS

QUOTA = "/v2/quotas/acme"
MESSAGES = "/v2/queues/jobs/messages"
ADMIN = {"X-Roles": "admin"}


def core_with(
    store: MemoryStore, clock: ManualClock, *, admin_mode: bool = False, **quota: int
) -> Core:
    limits = Limits(admin_mode=admin_mode)
    return build_core(store=store, clock=clock, limits=limits, quota=Quota(**quota))


def api_of(core: Core, **app: Any) -> AsgiDriver:
    return AsgiDriver(build_app(core, NoAuthentication(), **app), HEADERS)


def of(*bodies: object) -> dict[str, Any]:
    return {"messages": [{"body": body} for body in bodies]}


async def test_who_is_too_fast_gets_503_and_is_told_which_limit_it_is_and_when_to_come_again(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, requests_per_second=2))
    for _ in range(2):
        assert (await api.get("/v2/queues")).status == 200
    refused = await api.get("/v2/queues")
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert refused.json() == {
        "title": "Service temporarily unavailable",
        "description": "The project is too fast: requests_per_second is limited to 2. "
        "Please try again in a few seconds.",
    }
    assert (await api.get("/v2/queues", headers={"X-Project-Id": "rival"})).status == 200
    clock.advance(milliseconds=500)
    assert (await api.get("/v2/queues")).status == 200
    assert (await api.get("/v2/queues")).status == 503


async def test_routes_that_zaqar_lacks_and_an_operator_who_says_so_answer_429(
    store: MemoryStore, clock: ManualClock, further_statuses: set[int]
) -> None:
    further_statuses.add(429)
    core = core_with(store, clock, requests_per_second=1)
    api, other = api_of(core), api_of(core, too_many=True)
    assert (await api.get("/v2/queues")).status == 200
    for target in (QUOTA, "/v2/grants", "/v2/queues/jobs/dead_letters", "/v2/keys"):
        refused = await api.get(target)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1"), target
        assert b"requests_per_second" in refused.body
    for target in ("/v2/queues", MESSAGES, "/v2/queues/jobs/subscriptions", "/v2/topics"):
        assert (await api.get(target)).status == 503, target
        assert (await other.get(target)).status == 429, target


async def test_the_order_of_checks_is_kept_and_what_is_about_nobody_is_not_counted(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, requests_per_second=1))
    for _ in range(3):
        assert (await api.get("/v2/ping")).status == 204
        assert (await api.get("/v2/openapi.json")).status == 200
        assert (await api.get("/v2/queues/no%20name")).status == 400
        assert (await api.get("/v2/queues", headers={"Client-ID": "x"})).status == 400
        assert (await api.get("/v2/nowhere")).status == 404
    assert (await api.delete("/v2/queues")).status == 405
    assert (await api.delete("/v2/queues")).status == 503


class Tokens:
    def cached(self, token: str) -> Verified | None:
        return Verified(project="acme") if token == "good" else None

    async def verify(self, token: str) -> Verified:
        raise NotAuthenticated(f"a token of {len(token)} characters is not good")


async def test_what_shows_no_good_credential_counts_for_no_project(
    store: MemoryStore, clock: ManualClock
) -> None:
    core = core_with(store, clock, requests_per_second=1)
    identity = ChosenIdentity(None, Tokens(), challenge="x")
    api = AsgiDriver(build_app(core, identity), {"Client-ID": ALICE, "X-Project-Id": "acme"})
    for headers in ({}, {"X-Auth-Token": "bad"}, {"URL-Signature": "00"}):
        for _ in range(3):
            assert (await api.get(MESSAGES, headers=headers)).status in (401, 404)
    good = {"X-Auth-Token": "good"}
    assert (await api.get(MESSAGES, headers=good)).status == 200
    assert (await api.get(MESSAGES, headers=good)).status == 503


async def test_a_request_that_waits_counts_once(store: MemoryStore, clock: ManualClock) -> None:
    core = core_with(store, clock, requests_per_second=2)
    api = api_of(core)
    waiting = asyncio.create_task(api.get(f"{MESSAGES}?wait=10&echo=true"))
    async with asyncio.timeout(5):
        while not core.wakeups.waiters:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
    assert (await api.post(MESSAGES, of(1))).status == 201
    assert len((await waiting).json()["messages"]) == 1
    assert (await api.get(MESSAGES)).status == 503


async def test_messages_beyond_the_rate_are_refused_whole(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, messages_per_second=5))
    assert (await api.post(MESSAGES, of(1, 2, 3))).status == 201
    refused = await api.post(MESSAGES, of(4, 5, 6))
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert b"messages_per_second is limited to 5" in refused.body
    assert (await api.post("/v2/topics/news/messages", of(4, 5))).status == 201
    assert (await api.post(MESSAGES, of(6))).status == 503
    listed = (await api.get(f"{MESSAGES}?echo=true")).json()["messages"]
    assert [message["body"] for message in listed] == [1, 2, 3]
    clock.advance(seconds=1)
    assert (await api.post(MESSAGES, of(4, 5, 6))).status == 201


async def test_everybody_sees_what_his_own_project_may_have_and_has(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, requests_per_second=10, mails_per_day=7))
    await api.get("/v2/queues")
    reply = await api.get(QUOTA, headers={"X-Roles": "reader"})
    assert reply.status == 200
    shown = reply.json()
    assert shown["project"] == "acme"
    assert list(shown["limits"]) == list(NAMES)
    assert shown["limits"]["requests_per_second"] == 10
    assert shown["limits"]["messages"] is None
    assert shown["overrides"] == {}
    assert shown["use"]["requests_per_second"] == 2
    assert shown["use"]["mails_per_day"] == 0
    assert shown["use"]["listeners"] == 0


async def test_what_is_another_projects_is_the_operators(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, admin_mode=True))
    other = "/v2/quotas/rival"
    for headers in ({}, {"X-Roles": "member"}, {"X-Roles": "reader"}):
        for asked in (
            api.get(other, headers=headers),
            api.put(other, {"messages": 1}, headers=headers),
            api.put(QUOTA, {"messages": 1}, headers=headers),
            api.delete(other, headers=headers),
        ):
            assert (await asked).status == 403
    assert (await api.get(other, headers=ADMIN)).status == 200


async def test_without_admin_mode_there_is_only_what_is_ones_own_to_see(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock))
    assert (await api.get(QUOTA, headers=ADMIN)).status == 200
    assert (await api.get("/v2/quotas/rival", headers=ADMIN)).status == 403
    for refused in (
        await api.put(QUOTA, {"messages": 1}, headers=ADMIN),
        await api.delete(QUOTA, headers=ADMIN),
    ):
        assert (refused.status, refused.headers["allow"]) == (405, "GET, OPTIONS")


async def test_an_operator_sets_changes_and_resets_the_limits_of_a_project(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, admin_mode=True, requests_per_second=1000, queues=9))
    put = await api.put("/v2/quotas/rival", {"queues": None, "messages": 5}, headers=ADMIN)
    assert put.status == 200
    shown = (await api.get("/v2/quotas/rival", headers=ADMIN)).json()
    assert shown["overrides"] == {"queues": None, "messages": 5}
    assert (shown["limits"]["queues"], shown["limits"]["messages"]) == (None, 5)
    assert shown["limits"]["requests_per_second"] == 1000
    assert (await api.get(QUOTA)).json()["limits"]["queues"] == 9

    await api.put("/v2/quotas/rival", {"requests_per_second": 1}, headers=ADMIN)
    rival = api.with_headers(X_Project_Id="rival")
    assert [(await rival.get("/v2/queues")).status for _ in range(2)] == [200, 503]
    for _ in range(2):
        assert (await api.delete("/v2/quotas/rival", headers=ADMIN)).status == 204
    assert [(await rival.get("/v2/queues")).status for _ in range(2)] == [200, 200]
    shown = (await api.get("/v2/quotas/rival", headers=ADMIN)).json()
    assert (shown["overrides"], shown["limits"]["queues"]) == ({}, 9)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"message": 5}, "There is no quota 'message'"),
        ({"messages": "5"}, "messages must be an integer"),
        ({"messages": True}, "messages must be an integer"),
        ({"messages": 1.5}, "messages must be an integer"),
        ({"messages": -1}, "messages must be from 0"),
        ({"requests_per_second": 0}, "requests_per_second must be from 1"),
        ({"bytes": 10**16}, "bytes must be from 0"),
        ([], "JSON object"),
        (b"", "could not be parsed"),
    ],
)
async def test_what_is_no_limit_is_refused_and_changes_nothing(
    store: MemoryStore, clock: ManualClock, body: object, words: str
) -> None:
    api = api_of(core_with(store, clock, admin_mode=True))
    await api.put(QUOTA, {"messages": 3}, headers=ADMIN)
    refused = await api.put(QUOTA, body, headers=ADMIN)
    assert refused.status == 400
    assert words in refused.json()["description"]
    assert (await api.get(QUOTA)).json()["overrides"] == {"messages": 3}


async def test_no_project_is_called_what_none_can_be(
    store: MemoryStore, clock: ManualClock
) -> None:
    api = api_of(core_with(store, clock, admin_mode=True))
    for name in ("a%0Ab", "%1Ftopics%1Facme", "p" * 257):
        for asked in (
            api.get(f"/v2/quotas/{name}", headers=ADMIN),
            api.put(f"/v2/quotas/{name}", {"messages": 3}, headers=ADMIN),
            api.delete(f"/v2/quotas/{name}", headers=ADMIN),
        ):
            assert (await asked).status == 400
