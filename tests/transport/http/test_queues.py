"""Queues over HTTP (contract http-v2 §2), row by row."""

import asyncio

import pytest

from nuska.stores.memory import MemoryStore
from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.clock import ManualClock

QUEUE = "/v2/queues/jobs"
DEFAULTS = {
    "_max_messages_post_size": 262144,
    "_default_message_ttl": 3600,
    "_default_message_delay": 0,
    "_dead_letter_queue": None,
    "_dead_letter_queue_messages_ttl": None,
    "_max_claim_count": None,
    "_enable_encrypt_messages": False,
}
PATCH_TYPE = "application/openstack-messaging-v2.0-json-patch"


async def patch(api: AsgiDriver, body: object, *, kind: str | None = PATCH_TYPE) -> Reply:
    return await api.patch(QUEUE, body, headers={"Content-Type": kind})


def add(key: str, value: object) -> dict[str, object]:
    return {"op": "add", "path": f"/metadata/{key}", "value": value}


def names(reply: Reply) -> list[str]:
    return [queue["name"] for queue in reply.json()["queues"]]


async def test_put_creates_a_queue_with_an_empty_answer(api: AsgiDriver) -> None:
    reply = await api.put(QUEUE, {"team": "billing"})
    assert (reply.status, reply.body) == (201, b"")
    assert reply.headers["location"] == QUEUE
    assert (await api.get(QUEUE)).json() == {"team": "billing", **DEFAULTS}


async def test_put_of_an_existing_queue_changes_nothing(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"team": "billing"})
    reply = await api.put(QUEUE, {"team": "other"})
    assert (reply.status, reply.headers["location"]) == (204, QUEUE)
    assert (await api.get(QUEUE)).json()["team"] == "billing"


async def test_put_of_an_existing_queue_still_validates(api: AsgiDriver) -> None:
    await api.put(QUEUE)
    assert (await api.put(QUEUE, {"_default_message_ttl": 5})).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"3",
        b"null",
        b'"x"',
        b"{",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
        b'{"a": NaN}',
        b'{"a": 9223372036854775808}',
        b'{"_default_message_delay": ""}',
        b'{"_retry_policy": []}',
        b'{"_enable_encrypt_messages": true}',
        b'{"_dead_letter_queue": 5}',
        b'{"_durability": "none"}',
    ],
)
async def test_put_refuses_what_is_not_metadata_and_creates_nothing(
    api: AsgiDriver, body: bytes
) -> None:
    assert (await api.put(QUEUE, body)).status == 400
    assert names(await api.get("/v2/queues")) == []


async def test_an_array_as_metadata_is_a_document_type_not_supported(api: AsgiDriver) -> None:
    reply = await api.put(QUEUE, [])
    assert reply.json()["title"] == "Invalid request body"
    assert "Document type not supported" in reply.json()["description"]


async def test_metadata_may_have_65536_bytes_and_no_more(api: AsgiDriver) -> None:
    fits = b'{"a": "' + b"x" * (65536 - 9) + b'"}'
    assert len(fits) == 65536
    assert (await api.put(QUEUE, fits)).status == 201
    reply = await api.put("/v2/queues/other", fits + b" ")
    assert (reply.status, reply.json()["title"]) == (400, "Invalid API request")
    assert "65536" in reply.json()["description"]


async def test_get_of_a_missing_queue_shows_the_defaults_and_creates_nothing(
    api: AsgiDriver,
) -> None:
    reply = await api.get(QUEUE)
    assert (reply.status, reply.json()) == (200, DEFAULTS)
    assert names(await api.get("/v2/queues")) == []


async def test_answers_separate_by_comma_and_colon_with_a_blank(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"where": "Zürich"})
    assert (await api.get(QUEUE)).body.startswith('{"where": "Zürich", "_max'.encode())


async def test_head_tells_whether_a_queue_exists(api: AsgiDriver) -> None:
    missing = await api.request("HEAD", QUEUE)
    await api.put(QUEUE)
    there = await api.request("HEAD", QUEUE)
    assert (missing.status, there.status, there.body) == (404, 200, b"")


async def test_delete_is_204_whether_or_not_the_queue_exists(api: AsgiDriver) -> None:
    assert (await api.delete(QUEUE)).status == 204
    await api.put(QUEUE, {"team": "billing"})
    await api.post(f"{QUEUE}/messages", {"messages": [{"body": 1}]})
    assert (await api.delete(QUEUE)).status == 204
    assert (await api.get(QUEUE)).json() == DEFAULTS
    assert (await api.get(f"{QUEUE}/stats")).json()["messages"]["total"] == 0


async def test_queues_of_another_project_are_out_of_reach(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"team": "billing"})
    other = api.with_headers(X_Project_Id="evil")
    assert (await other.get(QUEUE)).json() == DEFAULTS
    assert names(await other.get("/v2/queues")) == []
    await other.delete(QUEUE)
    assert (await api.get(QUEUE)).json()["team"] == "billing"


# Listing


async def test_an_empty_list_is_200_with_no_links(api: AsgiDriver) -> None:
    reply = await api.get("/v2/queues")
    assert (reply.status, reply.json()) == (200, {"queues": [], "links": []})


async def test_the_worked_example_of_a_detailed_list(api: AsgiDriver) -> None:
    await api.put("/v2/queues/jobs", {"a": 1})
    await api.put("/v2/queues/invoices", {"team": "billing"})
    reply = await api.get("/v2/queues?limit=2&detailed=true")
    assert reply.json() == {
        "queues": [
            {
                "name": "invoices",
                "href": "/v2/queues/invoices",
                "metadata": {"team": "billing", **DEFAULTS},
            },
            {"name": "jobs", "href": "/v2/queues/jobs", "metadata": {"a": 1, **DEFAULTS}},
        ],
        "links": [{"rel": "next", "href": "/v2/queues?limit=2&detailed=true&marker=jobs"}],
    }


async def test_items_of_a_plain_list_have_name_and_href_only(api: AsgiDriver) -> None:
    await api.put(QUEUE)
    assert (await api.get("/v2/queues")).json()["queues"] == [{"name": "jobs", "href": QUEUE}]


@pytest.mark.parametrize("limit", [1, 2, 3, 20])
async def test_following_next_links_sees_every_queue_once(api: AsgiDriver, limit: int) -> None:
    wanted = sorted(f"q.{n}" for n in range(7))
    for name in wanted:
        await api.put(f"/v2/queues/{name}")
    seen: list[str] = []
    href = f"/v2/queues?limit={limit}"
    while True:
        page = (await api.get(href)).json()
        if not page["queues"]:
            assert page["links"] == []
            break
        seen += [queue["name"] for queue in page["queues"]]
        (link,) = page["links"]
        assert link["rel"] == "next"
        href = link["href"]
    assert seen == wanted


async def test_a_page_has_ten_queues_unless_asked_otherwise(api: AsgiDriver) -> None:
    for number in range(12):
        await api.put(f"/v2/queues/q{number:02}")
    assert len(names(await api.get("/v2/queues"))) == 10
    assert len(names(await api.get("/v2/queues?limit="))) == 10


async def test_a_marker_need_not_exist(api: AsgiDriver) -> None:
    await api.put("/v2/queues/b")
    assert names(await api.get("/v2/queues?marker=a")) == ["b"]
    assert names(await api.get("/v2/queues?marker=b")) == []


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("limit=0", "Invalid API request"),
        ("limit=21", "Invalid API request"),
        ("limit=-1", "Invalid API request"),
        ("limit=99999999999999999999", "Invalid API request"),
        ("limit=ten", "Invalid parameter"),
        ("limit=1.0", "Invalid parameter"),
        ("limit=1_0", "Invalid parameter"),
        ("limit=%20", "Invalid parameter"),
        ("limit=%D9%A1", "Invalid parameter"),
        ("limit=" + "1" * 5000, "Invalid API request"),
        ("limit=-" + "1" * 5000, "Invalid API request"),
        ("detailed=maybe", "Invalid parameter"),
        ("detailed=TRUE", "Invalid parameter"),
        ("with_count=2", "Invalid parameter"),
        ("color=red,blue", "Invalid parameter"),
        ("color=red%2Cblue", "Invalid parameter"),
        ("color=red&color=blue", "Invalid parameter"),
        ("name=%5B", "Invalid API request"),
        ("limit=\xff", "Invalid parameter"),
    ],
)
async def test_a_bad_query_is_refused(api: AsgiDriver, query: str, title: str) -> None:
    reply = await api.get(f"/v2/queues?{query}")
    assert (reply.status, reply.json()["title"]) == (400, title)


@pytest.mark.parametrize("word", ["true", "True", "t", "yes", "y", "1", "on"])
async def test_words_for_true(api: AsgiDriver, word: str) -> None:
    await api.put(QUEUE)
    reply = await api.get(f"/v2/queues?detailed={word}")
    assert "metadata" in reply.json()["queues"][0]
    assert "detailed=true" in reply.json()["links"][0]["href"]


@pytest.mark.parametrize("word", ["false", "False", "f", "no", "n", "0", "off"])
async def test_words_for_false(api: AsgiDriver, word: str) -> None:
    await api.put(QUEUE)
    reply = await api.get(f"/v2/queues?detailed={word}")
    assert "metadata" not in reply.json()["queues"][0]
    assert "detailed=false" in reply.json()["links"][0]["href"]


async def test_the_last_of_several_values_wins_and_of_a_list_the_last_piece(
    api: AsgiDriver,
) -> None:
    for name in ("a", "b", "c"):
        await api.put(f"/v2/queues/{name}")
    assert names(await api.get("/v2/queues?limit=3&limit=1")) == ["a"]
    assert names(await api.get("/v2/queues?marker=a,b")) == ["c"]


async def test_with_count_counts_the_project_and_is_left_out_at_zero(api: AsgiDriver) -> None:
    assert "count" not in (await api.get("/v2/queues?with_count=true")).json()
    for name in ("a", "b", "c"):
        await api.put(f"/v2/queues/{name}")
    reply = await api.get("/v2/queues?with_count=true&limit=1&name=b")
    assert reply.json()["count"] == 3
    assert names(reply) == ["b"]


async def test_name_is_a_plain_substring(api: AsgiDriver) -> None:
    for name in ("abc", "ab.c", "abXc", "zab.czz"):
        await api.put(f"/v2/queues/{name}")
    assert names(await api.get("/v2/queues?name=ab.c")) == ["ab.c", "zab.czz"]


async def test_other_parameters_filter_by_metadata_and_stay_in_the_next_link(
    api: AsgiDriver,
) -> None:
    await api.put("/v2/queues/a", {"color": "red", "size": 3})
    await api.put("/v2/queues/b", {"color": "red", "size": "3"})
    await api.put("/v2/queues/c", {"color": "blue", "size": 3})
    assert names(await api.get("/v2/queues?color=red")) == ["a", "b"]
    assert names(await api.get("/v2/queues?size=3")) == ["a", "c"]
    reply = await api.get("/v2/queues?color=red&size=3&limit=1")
    assert names(reply) == ["a"]
    href = reply.json()["links"][0]["href"]
    assert href == "/v2/queues?limit=1&color=red&size=3&marker=a"
    assert names(await api.get(href)) == []


async def test_a_filter_value_in_a_next_link_is_escaped(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"team": "a&b=ü"})
    reply = await api.get("/v2/queues?team=a%26b%3D%C3%BC")
    (link,) = reply.json()["links"]
    assert link["href"] == "/v2/queues?team=a%26b%3D%C3%BC&marker=jobs"


# Patch


async def test_the_worked_example_of_a_patch(api: AsgiDriver) -> None:
    await api.put(QUEUE)
    reply = await patch(
        api,
        [
            {"op": "add", "path": "/metadata/_max_claim_count", "value": 4},
            {"op": "replace", "path": "/metadata/_dead_letter_queue", "value": "jobs-dead"},
        ],
    )
    new = {**DEFAULTS, "_max_claim_count": 4, "_dead_letter_queue": "jobs-dead"}
    assert (reply.status, reply.json()) == (200, new)
    assert "location" not in reply.headers
    assert (await api.get(QUEUE)).json() == new


async def test_patch_of_a_missing_queue_is_404(api: AsgiDriver) -> None:
    reply = await patch(api, [add("a", 1)])
    assert (reply.status, reply.json()["title"]) == (404, "Not found")


@pytest.mark.parametrize(
    "kind", [PATCH_TYPE, f"{PATCH_TYPE}; charset=utf-8", PATCH_TYPE.upper(), f"{PATCH_TYPE} ;v=1"]
)
async def test_the_media_type_of_a_patch_may_carry_parameters(api: AsgiDriver, kind: str) -> None:
    await api.put(QUEUE)
    assert (await patch(api, [], kind=kind)).status == 200


@pytest.mark.parametrize("kind", ["application/json", "", None, "application/json-patch+json"])
async def test_another_media_type_is_415_and_names_the_right_one(
    api: AsgiDriver, kind: str | None
) -> None:
    await api.put(QUEUE)
    reply = await patch(api, [], kind=kind)
    assert (reply.status, reply.json()["title"]) == (415, "415 Unsupported Media Type")
    assert PATCH_TYPE in reply.json()["description"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[1]", b"[", b'"x"', b'[{"op": "add"}]'])
async def test_a_malformed_patch_is_400(api: AsgiDriver, body: bytes) -> None:
    await api.put(QUEUE)
    reply = await patch(api, body)
    assert (reply.status, reply.json()["title"]) == (400, "Invalid request body")


async def test_a_patch_of_an_absent_key_is_409_and_changes_nothing(api: AsgiDriver) -> None:
    await api.put(QUEUE)
    reply = await patch(api, [add("a", 1), {"op": "remove", "path": "/metadata/b"}])
    assert (reply.status, reply.json()["title"]) == (409, "Resource conflict")
    assert (await api.get(QUEUE)).json() == DEFAULTS


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), ([1], [True])])
async def test_a_patch_to_a_value_that_python_calls_equal_is_kept(
    api: AsgiDriver, before: object, after: object
) -> None:
    await api.put(QUEUE, {"a": before})
    shown = (await patch(api, [add("a", after)])).json()["a"]
    kept = (await api.get(QUEUE)).json()["a"]
    assert repr(shown) == repr(kept) == repr(after)


async def test_what_a_patch_results_in_must_be_valid(api: AsgiDriver) -> None:
    await api.put(QUEUE)
    reply = await patch(api, [add("a", 1), add("_default_message_ttl", 5)])
    assert (reply.status, reply.json()["title"]) == (400, "Invalid API request")
    assert (await api.get(QUEUE)).json() == DEFAULTS


async def test_patches_cannot_grow_metadata_beyond_its_limit(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"a": "x" * 40_000})
    reply = await patch(api, [add("b", "x" * 40_000)])
    assert reply.status == 400
    assert "65536" in reply.json()["description"]


async def test_the_update_of_the_python_client_goes_through(api: AsgiDriver) -> None:
    # K2: it reads, then removes every key it does not want, those shown by default included.
    await api.put(QUEUE, {"old": 1})
    shown = (await api.get(QUEUE)).json()
    removals = [{"op": "remove", "path": f"/metadata/{key}"} for key in shown]
    reply = await patch(api, [add("new", 2), *removals])
    assert (reply.status, reply.json()) == (200, {"new": 2, **DEFAULTS})


async def test_concurrent_patches_lose_nothing(api: AsgiDriver, store: MemoryStore) -> None:
    await api.put(QUEUE)
    read = store.queues.get

    async def read_slowly(ref):
        queue = await read(ref)
        await asyncio.sleep(0)
        return queue

    store.queues.get = read_slowly  # type: ignore[method-assign]
    replies = await asyncio.gather(*(patch(api, [add(f"k{n}", n)]) for n in range(8)))
    assert {reply.status for reply in replies} == {200}
    shown = (await api.get(QUEUE)).json()
    assert {f"k{n}": shown.get(f"k{n}") for n in range(8)} == {f"k{n}": n for n in range(8)}


async def test_a_patch_that_never_gets_its_turn_is_503(api: AsgiDriver, store: MemoryStore) -> None:
    await api.put(QUEUE)

    async def always_changed(*_: object, **__: object) -> bool:
        return False

    store.queues.replace_metadata = always_changed  # type: ignore[method-assign]
    reply = await patch(api, [add("a", 1)])
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


# Stats and purge


async def test_stats_of_a_missing_queue_are_zeros_without_landmarks(api: AsgiDriver) -> None:
    reply = await api.get(f"{QUEUE}/stats")
    assert reply.json() == {"messages": {"claimed": 0, "free": 0, "total": 0}}


async def test_stats_count_delayed_messages_as_free(api: AsgiDriver, clock: ManualClock) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    posted = await api.post(
        f"{QUEUE}/messages",
        {"messages": [{"body": 1, "delay": 0}, {"body": 2, "delay": 0}, {"body": 3}]},
    )
    await api.post(f"{QUEUE}/claims?limit=1")
    clock.advance(seconds=5)
    first, _, last = posted.json()["resources"]
    landmark = {"age": 5, "created": "2030-01-01T00:00:00Z"}
    assert (await api.get(f"{QUEUE}/stats")).json() == {
        "messages": {
            "claimed": 1,
            "free": 2,
            "total": 3,
            "oldest": {"href": first, **landmark},
            "newest": {"href": last, **landmark},
        }
    }


async def test_stats_show_lowered_durability(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_durability": "relaxed"})
    assert (await api.get(f"{QUEUE}/stats")).json()["durability"] == "relaxed"
    await patch(api, [add("_durability", None)])
    assert "durability" not in (await api.get(f"{QUEUE}/stats")).json()


@pytest.mark.parametrize(
    ("body", "status", "left"),
    [
        (b"", 204, 0),
        (b'{"resource_types": ["messages"]}', 204, 0),
        (b'{"resource_types": ["messages", "subscriptions"]}', 204, 0),
        (b'{"resource_types": ["subscriptions"]}', 204, 3),
        (b'{"resource_types": []}', 204, 3),
        (b"{}", 400, 3),
        (b"[]", 400, 3),
        (b'{"resource_types": "messages"}', 400, 3),
        (b'{"resource_types": ["messages", "claims"]}', 400, 3),
        (b'{"resource_types": [["messages"]]}', 400, 3),
        (b'{"resource_types": null}', 400, 3),
    ],
)
async def test_purge_removes_claimed_and_delayed_messages_too(
    api: AsgiDriver, body: bytes, status: int, left: int
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30, "team": "billing"})
    drafts = [{"body": 1, "delay": 0}, {"body": 2, "delay": 0}, {"body": 3}]
    await api.post(f"{QUEUE}/messages", {"messages": drafts})
    await api.post(f"{QUEUE}/claims?limit=1")
    assert (await api.post(f"{QUEUE}/purge", body)).status == status
    assert (await api.get(f"{QUEUE}/stats")).json()["messages"]["total"] == left
    assert (await api.get(QUEUE)).json()["team"] == "billing"


async def test_purge_of_a_missing_queue_is_204_and_creates_nothing(api: AsgiDriver) -> None:
    assert (await api.post(f"{QUEUE}/purge")).status == 204
    assert names(await api.get("/v2/queues")) == []


# Share: no signing key can be configured yet


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"colour": "red"}',
        b'{"paths": ["stats"]}',
        b'{"paths": "messages"}',
        b'{"paths": [1]}',
        b'{"methods": "GET"}',
        b'{"expires": 2031}',
        b'{"expires": "20310304"}',
        b'{"expires": "soon"}',
        b'{"expires": "2029-12-31T23:59:59"}',
        b'{"expires": "2030-01-01T00:00:00Z"}',
        b'{"expires": "0001-01-01T00:00:00+23:00"}',
    ],
)
async def test_a_malformed_share_is_refused_for_what_is_wrong_with_it(
    api: AsgiDriver, body: bytes
) -> None:
    reply = await api.post(f"{QUEUE}/share", body)
    assert reply.status == 400
    assert "signing key" not in reply.json()["description"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"paths": [], "methods": []}',
        b'{"paths": ["messages", "claims"], "methods": ["FOO"]}',
        b'{"expires": "2031-03-04T05:06:07"}',
        b'{"expires": "2031-03-04 05:06:07.123456+02:00"}',
    ],
)
async def test_a_proper_share_is_refused_for_want_of_a_signing_key(
    api: AsgiDriver, body: bytes
) -> None:
    reply = await api.post(f"{QUEUE}/share", body)
    assert reply.status == 400
    assert "pre-signed URLs" in reply.json()["description"]
    assert names(await api.get("/v2/queues")) == []


@pytest.mark.parametrize("target", ["/v2/pools", "/v2/flavors"])
async def test_what_does_not_exist_yet_has_no_route(api: AsgiDriver, target: str) -> None:
    reply = await api.get(target, headers={"Client-ID": None})
    assert (reply.status, reply.json()) == (404, {"title": "404 Not Found"})
