"""Ping and health (contract http-v2 §7)."""

import asyncio

import pytest

from nuska.core import build_core
from nuska.core.health import CANARY_LIFETIME
from nuska.domain.errors import Unavailable
from nuska.domain.limits import Limits
from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver

ADMIN = {"X-Roles": "member, Admin"}
OPERATIONS = [
    "create_queue",
    "post_messages",
    "claim_messages",
    "list_messages",
    "delete_messages",
    "delete_claim",
    "bulk_delete_messages",
    "delete_queue",
]


@pytest.fixture
def nobody(api: AsgiDriver) -> AsgiDriver:
    return api.with_headers(Client_ID=None, X_Project_Id=None)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_anybody_may_ping(nobody: AsgiDriver, method: str) -> None:
    reply = await nobody.request(method, "/v2/ping")
    assert (reply.status, reply.body) == (204, b"")


async def test_a_ping_says_when_the_store_cannot_answer(
    nobody: AsgiDriver, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(_: object) -> None:
        raise Unavailable("down", retry_after=3)

    monkeypatch.setattr(type(store), "ping", down)
    reply = await nobody.get("/v2/ping")
    assert (reply.status, reply.body, reply.headers["retry-after"]) == (503, b"", "3")
    assert (await nobody.request("HEAD", "/v2/ping")).status == 204


async def test_health_exists_in_admin_mode_only(api: AsgiDriver) -> None:
    assert (await api.get("/v2/health", headers=ADMIN)).status == 404
    assert b"rel/health" not in (await api.get("/v2/")).body


@pytest.mark.parametrize("roles", [None, "", "member", "administrator", "not admin"])
async def test_health_is_for_admins(make_api, roles: str | None) -> None:
    reply = await make_api(admin_mode=True).get("/v2/health", headers={"X-Roles": roles})
    assert (reply.status, reply.json()["title"]) == (403, "Not authorized")


async def test_health_performs_every_operation_and_leaves_nothing_behind(
    make_api, store: MemoryStore
) -> None:
    api = make_api(admin_mode=True)
    reply = await api.get("/v2/health", headers=ADMIN)
    health = reply.json()
    assert (reply.status, health["storage_reachable"]) == (200, True)
    assert list(health["operation_status"]) == OPERATIONS
    for finding in health["operation_status"].values():
        assert (finding["succeeded"], finding["ref"]) == (True, None)
        assert finding["seconds"] >= 0
    assert not store._state.queues  # white box: no project that a caller could ask for
    assert b"rel/health" in (await api.get("/v2/")).body


async def test_a_failed_operation_names_its_log_entry(
    make_api, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise Unavailable("no claims today")

    monkeypatch.setattr(type(store.claims), "create", broken)
    health = (await make_api(admin_mode=True).get("/v2/health", headers=ADMIN)).json()
    status = health["operation_status"]
    assert [name for name in OPERATIONS if not status[name]["succeeded"]] == ["claim_messages"]
    assert len(status["claim_messages"]["ref"]) == 36


async def test_health_is_checked_once_for_all_who_ask_meanwhile(
    make_api, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = 0
    create = type(store.queues).create

    async def counted(*args: object, **options: object) -> object:
        nonlocal created
        created += 1
        await asyncio.sleep(0)
        return await create(*args, **options)

    monkeypatch.setattr(type(store.queues), "create", counted)
    api = make_api(admin_mode=True)
    first, *others = await asyncio.gather(*(api.get("/v2/health", headers=ADMIN) for _ in range(5)))
    assert all(other.body == first.body for other in others)
    assert (await api.get("/v2/health", headers=ADMIN)).body == first.body
    assert created == 1


async def test_findings_stand_for_ten_seconds(
    store: MemoryStore, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nuska.interfaces.identity import Caller

    core = build_core(store=store, clock=clock, limits=Limits(admin_mode=True))
    admin = Caller("acme", frozenset({"admin"}))
    loop = asyncio.get_running_loop()
    now = loop.time()
    first = await core.health.check(admin)
    monkeypatch.setattr(loop, "time", lambda: now + CANARY_LIFETIME + 1)
    assert await core.health.check(admin) is not first
