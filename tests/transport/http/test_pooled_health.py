"""Ping, health and metrics with pools (contract http-v2 §7)."""

import asyncio
from typing import Any

import pytest

from nuska.core.health import OPERATIONS


async def health(service: Any) -> Any:
    reply = await service.admin.get("/v2/health")
    assert reply.status == 200
    return reply.json()


def works(findings: Any) -> bool:
    assert set(findings) == {"storage_reachable", "operation_status"}
    assert tuple(findings["operation_status"]) == OPERATIONS
    operations = findings["operation_status"].values()
    assert all(set(one) == {"succeeded", "seconds", "ref"} for one in operations)
    return findings["storage_reachable"] and all(one["succeeded"] for one in operations)


async def test_every_pool_has_a_canary_and_the_catalogues_store_too(pooled_service: Any) -> None:
    await pooled_service.add("a", "b")
    found = await health(pooled_service)
    assert found.pop("catalog_reachable") is True
    assert {name: works(one) for name, one in found.items()} == {
        "a": True, "b": True, "catalog_store": True
    }  # fmt: skip
    for store in (*pooled_service.stores.values(), pooled_service.store.own):
        assert not store._state.queues  # white box: nothing is left behind


async def test_without_pools_the_catalogues_store_is_seen(pooled_service: Any) -> None:
    found = await health(pooled_service)
    assert (found["catalog_reachable"], works(found["catalog_store"])) == (True, True)
    assert set(found) == {"catalog_reachable", "catalog_store"}


async def test_a_pool_that_is_down_is_said_to_be_and_no_other(pooled_service: Any) -> None:
    await pooled_service.add("a", "b")
    pooled_service.take_down("a")
    found = await health(pooled_service)
    assert (found["a"]["storage_reachable"], works(found["a"])) == (False, False)
    assert works(found["b"])
    nobody = pooled_service.user.with_headers(Client_ID=None, X_Project_Id=None)
    assert (await nobody.get("/v2/ping")).status == 503
    pooled_service.down.clear()
    pooled_service.store.pools._failed.clear()
    assert (await nobody.get("/v2/ping")).status == 204


async def test_canaries_of_all_pools_sing_at_the_same_time_and_once_for_all_who_ask(
    pooled_service: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pooled_service.add("a", "b")
    queues = type(pooled_service.store.own.queues)
    create, together = queues.create, asyncio.Barrier(3)

    async def met(*args: object, **options: object) -> object:
        async with asyncio.timeout(5):
            await together.wait()  # passes only when all three are here
        return await create(*args, **options)

    monkeypatch.setattr(queues, "create", met)
    first, *others = await asyncio.gather(
        *(pooled_service.admin.get("/v2/health") for _ in range(4))
    )
    found = first.json()
    assert all(works(found[name]) for name in ("a", "b", "catalog_store"))
    assert all(other.body == first.body for other in others)


async def test_sweeping_notes_which_pools_answer(pooled_service: Any, clock: Any) -> None:
    await pooled_service.add("a", "b")
    pools = pooled_service.store.pools
    await pooled_service.store.sweep(now=clock.now())
    assert pools.answered == {"a": True, "b": True}
    pooled_service.take_down("a")
    await pooled_service.store.sweep(now=clock.now())
    assert pools.answered == {"a": False, "b": True}
    assert (await pooled_service.admin.delete("/v2/pools/b")).status == 204
    assert pools.answered == {"a": False}
