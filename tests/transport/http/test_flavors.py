"""Flavors over HTTP (contract http-v2 §9), and queues that ask for one (storage §4)."""

from typing import Any

import pytest

from nuska.testing.asgi import Reply

FLAVOR = "/v2/flavors/fast"
PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"


def refusal(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json()["title"]


@pytest.fixture
async def api(pooled_service: Any) -> Any:
    """An admin, and the pools ``a``, ``b`` and ``c``."""
    await pooled_service.add("a", "b", "c")
    return pooled_service.admin


async def flavors_of(api: Any) -> dict[str, str | None]:
    pools = (await api.get("/v2/pools")).json()["pools"]
    return {pool["name"]: pool["flavor"] for pool in pools}


class TestFlavors:
    async def test_a_flavor_is_given_to_its_pools(self, api: Any) -> None:
        reply = await api.put(FLAVOR, {"pool_list": ["a", "b"]}, headers={"Content-Type": None})
        assert (reply.status, reply.body, reply.headers["location"]) == (201, b"", FLAVOR)
        assert await flavors_of(api) == {"a": "fast", "b": "fast", "c": None}
        shown = (await api.get(FLAVOR)).json()
        assert shown == {
            "name": "fast",
            "capabilities": shown["capabilities"],
            "pool_list": ["a", "b"],
            "href": FLAVOR,
        }
        assert {"FIFO", "CLAIMS"} <= set(shown["capabilities"])

    async def test_a_second_put_is_the_whole_list(self, api: Any) -> None:
        await api.put(FLAVOR, {"pool_list": ["a", "b"]})
        reply = await api.put(FLAVOR, {"pool_list": ["c", "c"], "capabilities": {"x": 1}})
        assert reply.status == 201
        assert await flavors_of(api) == {"a": None, "b": None, "c": "fast"}

    async def test_a_patch_is_the_whole_list_too(self, api: Any) -> None:
        await api.put(FLAVOR, {"pool_list": ["a", "b"]})
        reply = await api.patch(FLAVOR, {"pool_list": ["b", "c"]})
        assert (reply.status, reply.json()["pool_list"]) == (200, ["b", "c"])
        assert reply.json() == (await api.get(FLAVOR)).json()
        assert await flavors_of(api) == {"a": None, "b": "fast", "c": "fast"}

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            {},
            {"pool_list": "a"},
            {"pool_list": [1]},
            {"pool_list": ["a"], "pool": "a"},
            {"pool_list": ["a"], "pool_group": "a"},
        ],
    )
    async def test_a_body_that_is_no_flavor_is_refused(
        self, api: Any, method: str, body: object
    ) -> None:
        await api.put(FLAVOR, {"pool_list": ["c"]})
        reply = await api.request(method, FLAVOR, body)
        assert refusal(reply) == (400, "Invalid request body")
        assert await flavors_of(api) == {"a": None, "b": None, "c": "fast"}

    @pytest.mark.parametrize("pools", [[], ["nobody"], ["a", "nobody"]])
    async def test_a_flavor_that_cannot_be_is_refused_by_the_known_titles(
        self, api: Any, pools: list[str]
    ) -> None:
        body = {"pool_list": pools}
        assert refusal(await api.put(FLAVOR, body)) == (400, "Unable to create")
        assert refusal(await api.patch(FLAVOR, body)) == (404, "Not found")
        await api.put(FLAVOR, {"pool_list": ["c"]})
        assert refusal(await api.patch(FLAVOR, body)) == (400, "updatefail")
        assert await flavors_of(api) == {"a": None, "b": None, "c": "fast"}

    async def test_a_deleted_flavor_leaves_its_pools_and_need_not_be_there(self, api: Any) -> None:
        await api.put(FLAVOR, {"pool_list": ["a"]})
        for _ in range(2):
            reply = await api.delete(FLAVOR)
            assert (reply.status, reply.body) == (204, b"")
        assert refusal(await api.get(FLAVOR)) == (404, "Not found")
        assert await flavors_of(api) == {"a": None, "b": None, "c": None}

    async def test_anyone_may_look_and_only_admins_change(
        self, api: Any, pooled_service: Any
    ) -> None:
        user, body = pooled_service.user, {"pool_list": ["a"]}
        await api.put(FLAVOR, body)
        assert (await user.get(FLAVOR)).json() == (await api.get(FLAVOR)).json()
        assert (await user.get("/v2/flavors")).status == 200
        for reply in (
            await user.put(FLAVOR, body),
            await user.patch(FLAVOR, body),
            await user.delete(FLAVOR),
        ):
            assert refusal(reply) == (403, "Not authorized")

    async def test_listings_show_capabilities_in_detail_only(self, api: Any) -> None:
        assert (await api.get("/v2/flavors")).json() == {"flavors": [], "links": []}
        await api.put("/v2/flavors/slow", {"pool_list": ["b", "c"]})
        await api.put(FLAVOR, {"pool_list": ["a"]})
        listed = (await api.get("/v2/flavors")).json()["flavors"]
        assert listed == [
            {"name": "fast", "href": FLAVOR, "pool_list": ["a"]},
            {"name": "slow", "href": "/v2/flavors/slow", "pool_list": ["b", "c"]},
        ]
        detailed = (await api.get("/v2/flavors?detailed=true")).json()["flavors"]
        assert all("FIFO" in flavor.pop("capabilities") for flavor in detailed)
        assert detailed == listed

    async def test_a_flavor_without_pools_has_no_pool_list_in_a_listing(self, api: Any) -> None:
        await api.put(FLAVOR, {"pool_list": ["a"]})
        await api.put("/v2/flavors/slow", {"pool_list": ["a"]})
        listed = (await api.get("/v2/flavors?limit=1")).json()
        assert listed["flavors"] == [{"name": "fast", "href": FLAVOR}]
        (link,) = listed["links"]
        listed = (await api.get(link["href"])).json()
        assert [flavor["name"] for flavor in listed["flavors"]] == ["slow"]
        shown = (await api.get(FLAVOR)).json()
        assert (shown["pool_list"], shown["capabilities"]) == ([], [])

    @pytest.mark.parametrize("query", ["limit=0", "limit=21", "limit=x"])
    async def test_a_limit_out_of_range_is_refused(self, api: Any, query: str) -> None:
        assert (await api.get(f"/v2/flavors?{query}")).status == 400


class TestQueues:
    async def test_a_queue_lies_in_a_pool_of_its_flavor(
        self, api: Any, pooled_service: Any
    ) -> None:
        await api.put(FLAVOR, {"pool_list": ["b"]})
        assert (await api.put("/v2/queues/q", {"_flavor": "fast"})).status == 201
        assert [q.name for q in pooled_service.stores["b"]._state.queues] == ["q"]
        assert (await api.get("/v2/queues/q")).json()["_flavor"] == "fast"

    async def test_an_unknown_flavor_is_refused(self, api: Any) -> None:
        reply = await api.put("/v2/queues/q", {"_flavor": "nobody"})
        assert refusal(reply) == (400, "Invalid API request")
        await api.put("/v2/queues/q")
        patch = [{"op": "add", "path": "/metadata/_flavor", "value": "nobody"}]
        reply = await api.patch("/v2/queues/q", patch, headers={"Content-Type": PATCH_TYPE})
        assert refusal(reply) == (400, "Invalid API request")

    async def test_a_queue_changes_its_flavor_only_while_it_is_empty(self, api: Any) -> None:
        await api.put(FLAVOR, {"pool_list": ["b"]})
        await api.post("/v2/queues/q/messages", {"messages": [{"body": 1}]})
        patch = [{"op": "add", "path": "/metadata/_flavor", "value": "fast"}]
        options = {"headers": {"Content-Type": PATCH_TYPE}}
        reply = await api.patch("/v2/queues/q", patch, **options)
        assert refusal(reply) == (409, "Resource conflict")
        assert len((await api.delete("/v2/queues/q/messages?pop=1")).json()["messages"]) == 1
        assert (await api.patch("/v2/queues/q", patch, **options)).json()["_flavor"] == "fast"

    async def test_without_a_pool_a_queue_lies_in_the_catalogues_store(
        self, api: Any, pooled_service: Any
    ) -> None:
        for name in "abc":
            assert (await api.delete(f"/v2/pools/{name}")).status == 204
        assert (await api.put("/v2/queues/q")).status == 201
        assert [q.name for q in pooled_service.store.own._state.queues] == ["q"]

    async def test_without_a_virtual_pool_there_is_no_place_for_now(
        self, api: Any, pooled_service: Any
    ) -> None:
        pooled_service.store.pools._fall_back = False
        await api.put(FLAVOR, {"pool_list": ["a", "b", "c"]})
        assert refusal(await api.put("/v2/queues/q")) == (503, "Service temporarily unavailable")
        reply = await api.post("/v2/queues/q/messages", {"messages": [{"body": 1}]})
        assert refusal(reply) == (503, "Service temporarily unavailable")
