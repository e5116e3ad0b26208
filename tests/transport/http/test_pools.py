"""Pools over HTTP (contract http-v2 §8), row by row."""

from typing import Any

import pytest
from msgspec.structs import replace

from nuska.testing.asgi import Reply

POOL = "/v2/pools/fast1"
NEW = {"uri": "mem:fast1", "weight": 40}
SHOWN = {"name": "fast1", "uri": "mem:fast1", "weight": 40, "flavor": None, "href": POOL}


def refusal(reply: Reply) -> tuple[int, str]:
    document = reply.json()
    assert set(document) == {"title", "description"}
    return reply.status, document["title"]


@pytest.fixture
def api(pooled_service: Any) -> Any:
    return pooled_service.admin


class TestAvailability:
    @pytest.mark.parametrize("limits", [{"pooling": False}, {"admin_mode": False}])
    async def test_there_are_no_routes_without_pooling_and_admin_mode(
        self, make_pooled: Any, limits: dict[str, bool]
    ) -> None:
        api = make_pooled(**limits).admin
        queue = "/v2/queues/q"
        ours = ("/v2/pools", POOL, f"{POOL}/drain", "/v2/flavors", f"{queue}/move", f"{queue}/pool")
        for path in ours:
            reply = await api.get(path)
            assert (reply.status, reply.json()) == (404, {"title": "404 Not Found"})
        assert b"rel/pool" not in (await api.get("/v2/")).body

    async def test_the_home_document_names_them(self, api: Any) -> None:
        resources = (await api.get("/v2/")).json()["resources"]
        assert {"rel/pools", "rel/pool", "rel/flavors", "rel/flavor"} <= set(resources)

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v2/pools"),
            ("GET", POOL),
            ("PUT", POOL),
            ("PATCH", POOL),
            ("DELETE", POOL),
            ("POST", f"{POOL}/drain"),
            ("GET", f"{POOL}/drain"),
            ("POST", "/v2/queues/q/move"),
            ("GET", "/v2/queues/q/move"),
            ("GET", "/v2/queues/q/pool"),
        ],
    )
    async def test_all_of_it_is_for_admins(
        self, pooled_service: Any, method: str, path: str
    ) -> None:
        body = {"to": "a"} if "move" in path or "drain" in path else NEW
        reply = await pooled_service.user.request(method, path, body)
        assert refusal(reply) == (403, "Not authorized")
        assert (await pooled_service.admin.get("/v2/pools")).json()["pools"] == []

    async def test_a_method_that_a_pool_does_not_have_is_refused(self, api: Any) -> None:
        reply = await api.post(POOL, NEW)
        assert (reply.status, reply.json()) == (405, {"title": "405 Method Not Allowed"})
        assert set(reply.headers["allow"].split(", ")) == {
            "GET", "PUT", "PATCH", "DELETE", "OPTIONS"
        }  # fmt: skip


class TestPut:
    @pytest.mark.parametrize("kind", ["application/json", None, "text/plain"])
    async def test_a_pool_is_added_whatever_the_content_type(
        self, api: Any, kind: str | None
    ) -> None:
        reply = await api.put(POOL, NEW, headers={"Content-Type": kind})
        assert (reply.status, reply.body) == (201, b"")
        assert reply.headers["location"] == POOL
        assert (await api.get(POOL)).json() == SHOWN

    async def test_a_second_put_resets_what_it_leaves_out(self, api: Any) -> None:
        await api.put(POOL, {**NEW, "flavor": "fast", "options": {"a": 1}})
        shown = (await api.get(f"{POOL}?detailed=true")).json()
        assert (shown["flavor"], shown["options"]) == ("fast", {"a": 1})
        assert (await api.put(POOL, {**NEW, "weight": 7})).status == 201
        assert (await api.get(f"{POOL}?detailed=true")).json() == {
            **SHOWN, "weight": 7, "options": {}
        }  # fmt: skip

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"3",
            b"{",
            {"uri": "mem:a"},
            {"weight": 1},
            {**NEW, "group": "g"},
            {**NEW, "name": "fast1"},
            {**NEW, "uri": 3},
            {**NEW, "weight": "40"},
            {**NEW, "weight": 1.5},
            {**NEW, "options": []},
            {**NEW, "flavor": 3},
        ],
    )
    async def test_a_body_that_is_no_pool_is_refused(self, api: Any, body: object) -> None:
        assert refusal(await api.put(POOL, body)) == (400, "Invalid request body")
        assert (await api.get(POOL)).status == 404

    @pytest.mark.parametrize(
        "change",
        [
            {"uri": ""},
            {"uri": "mem:" + "x" * 3000},
            {"uri": "nothing://there"},
            {"uri": "mem:down"},
            {"weight": -1},
            {"weight": 2**31},
            {"flavor": ""},
            {"options": {"a": "x" * 20_000}},
        ],
    )
    async def test_a_pool_that_cannot_be_is_refused_by_the_known_title(
        self, pooled_service: Any, change: dict[str, object]
    ) -> None:
        pooled_service.down.add("down")
        reply = await pooled_service.admin.put(POOL, {**NEW, **change})
        assert refusal(reply) == (400, "Unable to create pool")
        assert (await pooled_service.admin.get(POOL)).status == 404

    async def test_a_uri_belongs_to_one_pool(self, api: Any) -> None:
        await api.put(POOL, NEW)
        reply = await api.put("/v2/pools/other", NEW)
        assert refusal(reply) == (409, "Resource conflict")
        assert (await api.put(POOL, NEW)).status == 201

    async def test_a_body_beyond_the_limit_is_not_read(self, api: Any) -> None:
        reply = await api.put(POOL, {**NEW, "options": {"a": "x" * 70_000}})
        assert refusal(reply) == (400, "Invalid API request")

    @pytest.mark.parametrize("name", ["two%20words", "x" * 70, "%C3%BCber", "a%26b"])
    async def test_names_are_taken_as_they_come(self, api: Any, name: str) -> None:
        reply = await api.put(f"/v2/pools/{name}", NEW)
        assert (reply.status, reply.headers["location"]) == (201, f"/v2/pools/{name}")
        (pool,) = (await api.get("/v2/pools")).json()["pools"]
        assert (await api.get(pool["href"])).json() == pool

    @pytest.mark.parametrize("name", ["x" * 256, "catalog_reachable", "catalog_store", "a%0Ab"])
    async def test_a_name_with_which_nobody_could_work_is_refused(
        self, api: Any, name: str
    ) -> None:
        reply = await api.put(f"/v2/pools/{name}", NEW)
        assert refusal(reply) == (400, "Unable to create pool")


class TestGetAndList:
    async def test_an_unknown_pool_is_not_found(self, api: Any) -> None:
        assert refusal(await api.get(POOL)) == (404, "Not found")

    async def test_options_are_shown_in_detail_only(self, api: Any) -> None:
        await api.put(POOL, {**NEW, "options": {"database": "x"}})
        detailed = {**SHOWN, "options": {"database": "x"}}
        assert (await api.get(POOL)).json() == SHOWN
        assert (await api.get(f"{POOL}?detailed=true")).json() == detailed
        assert (await api.get("/v2/pools")).json()["pools"] == [SHOWN]
        assert (await api.get("/v2/pools?detailed=true")).json()["pools"] == [detailed]

    async def test_no_pools_are_an_empty_list(self, api: Any) -> None:
        reply = await api.get("/v2/pools")
        assert (reply.status, reply.json()) == (200, {"pools": [], "links": []})
        assert reply.headers["content-location"] == "/v2/pools"

    async def test_pages_lead_from_one_to_the_next(self, pooled_service: Any) -> None:
        await pooled_service.add("c", "a", "b")
        target, names = "/v2/pools?limit=2&detailed=true", []
        while True:
            reply = await pooled_service.admin.get(target)
            assert reply.headers["content-location"] == target
            page = reply.json()
            if not page["pools"]:
                assert page["links"] == []
                break
            names.append([pool["name"] for pool in page["pools"]])
            (link,) = page["links"]
            assert link["rel"] == "next"
            assert "limit=2" in link["href"]
            assert "detailed=true" in link["href"]
            target = link["href"]
        assert names == [["a", "b"], ["c"]]

    @pytest.mark.parametrize("query", ["limit=0", "limit=21", "limit=-1"])
    async def test_a_limit_out_of_range_is_refused(self, api: Any, query: str) -> None:
        assert refusal(await api.get(f"/v2/pools?{query}")) == (400, "Invalid API request")

    @pytest.mark.parametrize("query", ["limit=x", "detailed=perhaps"])
    async def test_a_parameter_of_another_kind_is_refused(self, api: Any, query: str) -> None:
        assert refusal(await api.get(f"/v2/pools?{query}")) == (400, "Invalid parameter")


class TestPatch:
    @pytest.fixture(autouse=True)
    async def pool(self, api: Any) -> None:
        await api.put(POOL, {**NEW, "flavor": "fast", "options": {"a": 1}})

    @pytest.mark.parametrize(
        "change", [{"weight": 7}, {"uri": "mem:b"}, {"flavor": "slow"}, {"flavor": None}]
    )
    async def test_what_is_named_changes_and_the_rest_stays(
        self, api: Any, change: dict[str, object]
    ) -> None:
        reply = await api.patch(POOL, change)
        expected = {**SHOWN, "flavor": "fast", **change}
        assert (reply.status, reply.json()) == (200, expected)
        assert (await api.get(f"{POOL}?detailed=true")).json() == {**expected, "options": {"a": 1}}

    async def test_options_change_and_are_not_shown(self, api: Any) -> None:
        reply = await api.patch(POOL, {"options": {"b": 2}})
        assert (reply.status, reply.json()) == (200, {**SHOWN, "flavor": "fast"})
        assert (await api.get(f"{POOL}?detailed=true")).json()["options"] == {"b": 2}

    async def test_unknown_keys_are_passed_over_beside_a_known_one(self, api: Any) -> None:
        assert (await api.patch(POOL, {"weight": 1, "group": "g", "x": 3})).json()["weight"] == 1

    @pytest.mark.parametrize("body", [{}, {"x": 3}])
    async def test_a_patch_that_names_nothing_is_refused(self, api: Any, body: object) -> None:
        assert (await api.patch(POOL, body)).status == 400

    @pytest.mark.parametrize(
        "body", [b"", b"[]", {"weight": "7"}, {"uri": None}, {"options": 3}, {"flavor": []}]
    )
    async def test_a_patch_of_bad_types_is_refused(self, api: Any, body: object) -> None:
        assert refusal(await api.patch(POOL, body)) == (400, "Invalid request body")

    @pytest.mark.parametrize("body", [{"uri": "nothing://there"}, {"weight": -1}])
    async def test_a_pool_that_cannot_be_is_refused_by_the_known_title(
        self, api: Any, body: object
    ) -> None:
        assert refusal(await api.patch(POOL, body)) == (400, "updatefail")
        assert (await api.get(POOL)).json() == {**SHOWN, "flavor": "fast"}

    async def test_an_unknown_pool_is_not_found(self, api: Any) -> None:
        assert refusal(await api.patch("/v2/pools/b", {"weight": 1})) == (404, "Not found")

    async def test_a_uri_belongs_to_one_pool(self, api: Any) -> None:
        await api.put("/v2/pools/b", {"uri": "mem:b", "weight": 1})
        reply = await api.patch("/v2/pools/b", {"uri": NEW["uri"]})
        assert refusal(reply) == (409, "Resource conflict")

    async def test_a_pool_that_can_do_other_things_does_not_join_a_flavor(
        self, api: Any, pooled_service: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await pooled_service.add("b")
        usual = pooled_service.stores["b"].capabilities
        poor = replace(usual, names=frozenset({"CLAIMS"}))
        monkeypatch.setattr(
            type(pooled_service.stores["b"]),
            "capabilities",
            property(lambda store: poor if store is pooled_service.stores["b"] else usual),
        )
        reply = await api.patch("/v2/pools/b", {"flavor": "fast"})
        assert refusal(reply) == (400, "updatefail")
        reply = await api.put("/v2/pools/b", {"uri": "mem:b", "weight": 1, "flavor": "fast"})
        assert refusal(reply) == (400, "Unable to create pool")


class TestSecrets:
    URI = "mem:b//someone:s3cret@host"
    MASKED = "mem:b//someone:***@host"

    @pytest.fixture(autouse=True)
    async def pool(self, api: Any) -> None:
        assert (await api.put(POOL, {"uri": self.URI, "weight": 1})).status == 201

    async def test_no_answer_shows_a_password(self, api: Any) -> None:
        for reply in (
            await api.get(POOL),
            await api.get("/v2/pools?detailed=true"),
            await api.patch(POOL, {"weight": 2}),
            await api.put("/v2/pools/other", {"uri": self.URI, "weight": 1}),
            await api.put("/v2/pools/other", {"uri": "x" + self.URI, "weight": 1}),
            await api.get("/v2/health"),
        ):
            assert b"s3cret" not in reply.body
        assert (await api.get(POOL)).json()["uri"] == self.MASKED

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_a_uri_sent_back_as_it_was_shown_keeps_its_password(
        self, api: Any, pooled_service: Any, method: str
    ) -> None:
        reply = await api.request(method, POOL, {"uri": self.MASKED, "weight": 9})
        assert reply.status in (200, 201)
        kept = await pooled_service.store.placement.pool("fast1")
        assert (kept.uri, kept.weight) == (self.URI, 9)


class TestDelete:
    async def test_a_pool_goes_and_need_not_be_there(self, api: Any) -> None:
        await api.put(POOL, NEW)
        for _ in range(2):
            reply = await api.delete(POOL)
            assert (reply.status, reply.body) == (204, b"")
        assert (await api.get(POOL)).status == 404

    async def test_the_only_pool_of_a_flavor_stays(self, api: Any) -> None:
        await api.put(POOL, {**NEW, "flavor": "fast"})
        assert refusal(await api.delete(POOL)) == (403, "Unable to delete")
        await api.put("/v2/pools/b", {"uri": "mem:b", "weight": 1, "flavor": "fast"})
        assert (await api.delete(POOL)).status == 204

    async def test_a_pool_with_messages_stays_and_says_how_many(
        self, api: Any, pooled_service: Any
    ) -> None:
        await pooled_service.add("a")
        await pooled_service.user.put("/v2/queues/empty")
        messages = {"messages": [{"body": number} for number in range(3)]}
        await pooled_service.user.post("/v2/queues/jobs/messages", messages)
        reply = await api.delete("/v2/pools/a")
        assert refusal(reply) == (409, "Resource conflict")
        assert "hold some: 1" in reply.json()["description"]
        assert "3 messages" in reply.json()["description"]
        await pooled_service.user.delete("/v2/queues/jobs")
        assert (await api.delete("/v2/pools/a")).status == 204
        assert (await pooled_service.user.request("HEAD", "/v2/queues/empty")).status == 200


class TestMovesAndDrains:
    @pytest.fixture(autouse=True)
    async def jobs(self, pooled_service: Any) -> None:
        await pooled_service.add("a")
        messages = {"messages": [{"body": number} for number in range(3)]}
        await pooled_service.user.post("/v2/queues/jobs/messages", messages)
        await pooled_service.add("b")

    async def bodies(self, service: Any) -> list[object]:
        reply = await service.user.get("/v2/queues/jobs/messages?echo=true")
        return [message["body"] for message in reply.json()["messages"]]

    async def test_a_queue_moves(self, api: Any, pooled_service: Any) -> None:
        path = "/v2/queues/jobs/move"
        assert refusal(await api.get(path)) == (404, "Not found")
        begun = await api.post(path, {"to": "b"})
        assert begun.status == 202
        assert (begun.json()["from"], begun.json()["to"], begun.json()["state"]) == (
            "a", "b", "waiting"
        )  # fmt: skip
        assert (await api.post(path, {"to": "b"})).status == 202
        assert refusal(await api.post(path, {"to": "a"})) == (409, "Resource conflict")
        await pooled_service.carry()
        done = (await api.get(path)).json()
        assert (done["state"], done["messages_done"], done["messages_left"]) == ("done", 3, 0)
        assert await self.bodies(pooled_service) == [0, 1, 2]
        assert (await api.delete("/v2/pools/a")).status == 204

    async def test_it_is_said_where_a_queue_lies(self, api: Any, pooled_service: Any) -> None:
        path = "/v2/queues/jobs/pool"
        assert (await api.get(path)).json() == {"pool": "a", "moving_to": None}
        await api.post("/v2/queues/jobs/move", {"to": "b"})
        await pooled_service.carry()
        assert (await api.get(path)).json() == {"pool": "b", "moving_to": None}
        assert refusal(await api.get("/v2/queues/nobody/pool")) == (404, "Not found")

    async def test_a_pool_is_drained(self, api: Any, pooled_service: Any) -> None:
        path = "/v2/pools/a/drain"
        assert refusal(await api.get(path)) == (404, "Not found")
        begun = await api.post(path)
        assert (begun.status, begun.json()["to"]) == (202, None)
        assert (await api.get("/v2/pools/a")).json()["weight"] == 0
        await pooled_service.carry()
        done = (await api.get(path)).json()
        assert (done["state"], done["queues_done"], done["queues_left"]) == ("done", 1, 0)
        assert await self.bodies(pooled_service) == [0, 1, 2]

    @pytest.mark.parametrize(
        ("path", "body", "expected"),
        [
            ("/v2/queues/nobody/move", {"to": "b"}, (404, "Not found")),
            ("/v2/queues/jobs/move", {"to": "nowhere"}, (400, "Invalid API request")),
            ("/v2/queues/jobs/move", {}, (400, "Invalid request body")),
            ("/v2/queues/jobs/move", b"", (400, "Invalid request body")),
            ("/v2/queues/jobs/move", {"to": 3}, (400, "Invalid request body")),
            ("/v2/queues/jobs/move", {"to": "b", "x": 1}, (400, "Invalid request body")),
            ("/v2/pools/nobody/drain", {}, (404, "Not found")),
            ("/v2/pools/a/drain", {"to": "a"}, (400, "Invalid API request")),
            ("/v2/pools/a/drain", {"to": "nowhere"}, (400, "Invalid API request")),
        ],
    )
    async def test_what_cannot_be_moved_is_refused(
        self, api: Any, path: str, body: object, expected: tuple[int, str]
    ) -> None:
        assert refusal(await api.post(path, body)) == expected
