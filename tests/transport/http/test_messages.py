"""Messages over HTTP (contract http-v2 §3), row by row."""

import pytest

from nuska.domain.attributes import OURS
from nuska.testing.asgi import AsgiDriver, Reply
from nuska.testing.clock import ManualClock

QUEUE = "/v2/queues/jobs"
MESSAGES = f"{QUEUE}/messages"
UNKNOWN = "0" * 32


def bodies(reply: Reply) -> list[object]:
    return [message["body"] for message in reply.json()["messages"]]


async def post(api: AsgiDriver, *bodies: object, queue: str = QUEUE, **fields: object) -> list[str]:
    """Post ``bodies`` and return their hrefs."""
    drafts = [{"body": body, **fields} for body in bodies]
    reply = await api.post(f"{queue}/messages", {"messages": drafts})
    assert reply.status == 201, reply.body
    return reply.json()["resources"]


def id_of(href: str) -> str:
    return href.rpartition("/")[2].partition("?")[0]


async def claim(api: AsgiDriver, limit: int = 1) -> tuple[str, list[dict]]:
    reply = await api.post(f"{QUEUE}/claims?limit={limit}")
    return reply.headers["location"].rpartition("/")[2], reply.json()["messages"]


# Post


async def test_the_worked_example_of_a_post(api: AsgiDriver) -> None:
    reply = await api.post(
        MESSAGES,
        '{"messages": [{"ttl": 900, "body": {"job": 17}}, '
        '{"body": "plain text, queue default ttl"}]}',
    )
    assert reply.status == 201
    resources = reply.json()["resources"]
    assert reply.json() == {"resources": resources}
    assert all(href.startswith(f"{MESSAGES}/") for href in resources)
    assert reply.headers["location"] == f"{MESSAGES}?ids={','.join(map(id_of, resources))}"
    shown = (await api.get(f"{MESSAGES}?echo=true")).json()["messages"]
    assert shown == [
        {
            "id": id_of(resources[0]),
            "href": resources[0],
            "ttl": 900,
            "age": 0,
            "body": {"job": 17},
        },
        {
            "id": id_of(resources[1]),
            "href": resources[1],
            "ttl": 3600,
            "age": 0,
            "body": "plain text, queue default ttl",
        },
    ]


async def test_ids_have_no_character_that_clients_split_on(api: AsgiDriver) -> None:
    (href,) = await post(api, 1)
    assert id_of(href).isalnum()


async def test_a_post_creates_the_queue(api: AsgiDriver) -> None:
    await post(api, 1)
    assert (await api.request("HEAD", QUEUE)).status == 200


@pytest.mark.parametrize(
    ("body", "title"),
    [
        (b"", "Invalid request body"),
        (b"[]", "Invalid request body"),
        (b'[{"body": 1}]', "Invalid request body"),
        (b"{}", "Invalid request body"),
        (b"null", "Invalid request body"),
        (b"3", "Invalid request body"),
        (b'{"messages": null}', "Invalid request body"),
        (b'{"messages": {}}', "Invalid request body"),
        (b'{"messages": []}', "Invalid request body"),
        (b'{"messages": [1]}', "Invalid request body"),
        (b'{"messages": [null]}', "Invalid request body"),
        (b'{"messages": ["text"]}', "Invalid request body"),
        (b'{"messages": [[]]}', "Invalid request body"),
        (b'{"messages": [{}]}', "Invalid request body"),
        (b'{"messages": [{"ttl": 60}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1}, {"ttl": 60}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "ttl": "60"}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "ttl": 60.5}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "ttl": null}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "ttl": []}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "ttl": 59}]}', "Invalid API request"),
        (b'{"messages": [{"body": 1, "ttl": 1209601}]}', "Invalid API request"),
        (b'{"messages": [{"body": 1, "ttl": -60}]}', "Invalid API request"),
        (b'{"messages": [{"body": 1, "ttl": true}]}', "Invalid API request"),
        (b'{"messages": [{"body": 1, "attributes": 3}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "attributes": []}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "attributes": null}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1}', "Invalid request body"),
        (b'{"messages": [{"body": 1}]} x', "Invalid request body"),
        (b'\xef\xbb\xbf{"messages": [{"body": 1}]}', "Invalid request body"),
        (b'{"messages": [{"body": "\xff"}]}', "Invalid request body"),
        (b'{"messages": [{"body": "\\ud800"}]}', "Invalid request body"),
        (b'{"messages": [{"body": "\\udc00\\ud800"}]}', "Invalid request body"),
        (b'{"messages": [{"body": NaN}]}', "Invalid request body"),
        (b'{"messages": [{"body": -Infinity}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1e400}]}', "Invalid request body"),
        (b'{"messages": [{"body": 9223372036854775808}]}', "Invalid request body"),
        (b'{"messages": [{"body": -9223372036854775809}]}', "Invalid request body"),
        (b'{"messages": [{"body": {"a": [18446744073709551615]}}]}', "Invalid request body"),
        (b'{"messages": [{"body": 1, "other": 1' + b"0" * 30 + b"}]}", "Invalid request body"),
        (b'{"messages": [{"body": 1' + b"0" * 5000 + b"}]}", "Invalid request body"),
        (b'{"messages": [{"body": ' + b"[" * 101 + b"]" * 101 + b"}]}", "Invalid request body"),
        (b'{"messages": [{"body": ' + b"[" * 9999 + b"]" * 9999 + b"}]}", "Invalid request body"),
        (b'{"x": ' + b'{"a":' * 9999 + b"1" + b"}" * 9999 + b"}", "Invalid request body"),
    ],
)
async def test_a_malformed_post_is_400_and_stores_nothing(
    api: AsgiDriver, body: bytes, title: str
) -> None:
    reply = await api.post(MESSAGES, body)
    assert (reply.status, reply.json()["title"]) == (400, title)
    assert reply.json()["description"]
    assert (await api.request("HEAD", QUEUE)).status == 404


async def test_refusals_name_the_field_the_limit_and_the_message(api: AsgiDriver) -> None:
    async def refusal(*drafts: dict) -> str:
        return (await api.post(MESSAGES, {"messages": drafts})).json()["description"]

    assert "ttl" in await refusal({"body": 1, "ttl": 59})
    assert "from 60 to 1209600, not 59" in await refusal({"body": 1, "ttl": 59})
    assert "Message 1" in await refusal({"body": 1}, {"ttl": 60})
    assert "ttl of message 1" in await refusal({"body": 1}, {"body": 1, "ttl": "x"})
    assert "ttl of message 1 must be from 60" in await refusal({"body": 1}, {"body": 1, "ttl": 59})
    await api.put(QUEUE, {"_default_message_delay": 9})
    assert "delay of message 0 must be from 0" in await refusal({"body": 1, "delay": -1})
    assert "delay of message 0 must be an integer" in await refusal({"body": 1, "delay": "1"})


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"true",
        b'""',
        b"0",
        b"-9223372036854775808",
        b"9223372036854775807",
        b"1.5e-300",
        b"[1, [2, [3]]]",
        b'{"$x": 1, "a.b": 2, "": 3}',
        b'{"z": 1, "a": 2, "m": {"y": 1, "b": 2}}',
        '"Grüße, κόσμε, 😀"'.encode(),
        b'"\\ud83d\\ude00 \\u00e9 \\n"',
        b'{ "spaced" :  [ 1 ,2 ] }',
        b'"' + "κ".encode() * 40 + b'"',
        b"[" * 100 + b"]" * 100,
        b'"' + b"9" * 40 + b'"',
        b"1.0",
        b'{"a": 1, "a": 2}',
    ],
)
async def test_a_body_is_kept_as_the_posted_bytes(api: AsgiDriver, body: bytes) -> None:
    posted = await api.post(MESSAGES, b'{"messages": [{"body": ' + body + b"}]}")
    assert posted.status == 201
    shown = await api.get(f"{MESSAGES}?echo=true")
    assert b'"body": ' + body + b"}" in shown.body


async def test_depth_is_per_body_however_many_there_are(api: AsgiDriver) -> None:
    deep = b'{"body": ' + b"[" * 100 + b"]" * 100 + b"}"
    assert (await api.post(MESSAGES, b'{"messages": [' + deep + b", " + deep + b"]}")).status == 201


async def test_unknown_keys_are_dropped(api: AsgiDriver) -> None:
    await post(api, 1, priority=9, claim_id="x", id="mine")
    (message,) = (await api.get(f"{MESSAGES}?echo=true")).json()["messages"]
    assert message.keys() == {"id", "href", "ttl", "age", "body"}


@pytest.mark.parametrize("delay", [-1, 901, "soon", None, [], 10**18])
async def test_a_delay_is_not_even_looked_at_on_other_queues(
    api: AsgiDriver, delay: object
) -> None:
    await post(api, 1, delay=delay)
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == [1]


@pytest.mark.parametrize(
    ("delay", "title"),
    [
        (-1, "Invalid API request"),
        (901, "Invalid API request"),
        ("soon", "Invalid request body"),
        (1.5, "Invalid request body"),
        ([], "Invalid request body"),
    ],
)
async def test_a_delay_queue_refuses_a_bad_delay(
    api: AsgiDriver, delay: object, title: str
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    reply = await api.post(MESSAGES, {"messages": [{"body": 1, "delay": delay}]})
    assert (reply.status, reply.json()["title"]) == (400, title)


async def test_a_queue_gives_its_own_ttl_to_messages_without_one(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_default_message_ttl": 77})
    await post(api, 1)
    await post(api, 2, ttl=99)
    shown = (await api.get(f"{MESSAGES}?echo=true")).json()["messages"]
    assert [message["ttl"] for message in shown] == [77, 99]


async def test_a_post_may_have_as_many_bytes_as_the_server_says(make_api) -> None:
    api = make_api(max_messages_post_size=100)
    body = b'{"messages": [{"body": 1}]}'
    assert (await api.post(MESSAGES, body.ljust(100))).status == 201
    reply = await api.post(MESSAGES, body.ljust(101))
    assert (reply.status, reply.json()["title"]) == (400, "Invalid API request")
    assert "100 bytes" in reply.json()["description"]


async def test_a_queue_may_lower_the_size_of_its_posts(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_max_messages_post_size": 50})
    body = b'{"messages": [{"body": 1}]}'
    assert (await api.post(MESSAGES, body.ljust(50))).status == 201
    assert (await api.post(MESSAGES, body.ljust(51))).status == 400


async def test_fifty_messages_fit_in_one_post(api: AsgiDriver) -> None:
    assert len(await post(api, *range(50))) == 50


async def test_a_post_has_at_most_ten_thousand_messages(api: AsgiDriver) -> None:
    fits = b'{"messages": [' + b",".join([b'{"body":1}'] * 10_000) + b"]}"
    assert (await api.post(MESSAGES, fits)).status == 201
    reply = await api.post(MESSAGES, fits[:-2] + b',{"body":1}]}')
    assert reply.status == 400
    assert "from 1 to 10000, not 10001" in reply.json()["description"]


async def test_the_location_of_a_huge_post_is_short(api: AsgiDriver) -> None:
    reply = await api.post(MESSAGES, {"messages": [{"body": 1}] * 201})
    assert reply.headers["location"] == MESSAGES
    assert len(reply.json()["resources"]) == 201


# Chunked and announced bodies


async def test_a_chunked_post_is_taken(api: AsgiDriver) -> None:
    reply = await api.post(MESSAGES, pieces=[b'{"messages": ', b'[{"body": 1}', b"]}"])
    assert reply.status == 201


async def test_a_chunked_put_keeps_its_metadata(api: AsgiDriver) -> None:
    await api.put(QUEUE, pieces=[b'{"team"', b': "billing"}'])
    assert (await api.get(QUEUE)).json()["team"] == "billing"


async def test_a_chunked_body_is_read_to_its_limit_and_no_further(make_api) -> None:
    api = make_api(max_messages_post_size=100)
    connection, call = api.open("POST", MESSAGES, pieces=[b" " * 60] * 1000)
    await call
    assert connection.reply.status == 400
    assert connection.reply.headers["connection"] == "close"
    assert len(connection.pieces) == 1001 - 2


async def test_a_body_announced_too_large_is_not_read_at_all(api: AsgiDriver) -> None:
    size = 10_000_000
    headers = {"Content-Length": str(size), "Transfer-Encoding": None}
    connection, call = api.open("POST", MESSAGES, headers=headers, pieces=[b" " * 1000] * 10)
    await call
    assert connection.reply.status == 400
    assert connection.reply.headers["connection"] == "close"
    assert len(connection.pieces) == 10


async def test_a_refused_body_of_moderate_size_does_not_cost_the_connection(
    api: AsgiDriver,
) -> None:
    headers = {"Content-Length": "300000", "Transfer-Encoding": None}
    connection, call = api.open("POST", MESSAGES, headers=headers, pieces=[b" " * 1000] * 300)
    await call
    assert connection.reply.status == 400
    assert "connection" not in connection.reply.headers


async def test_a_client_that_leaves_amid_its_body_posts_nothing(api: AsgiDriver) -> None:
    _, call = api.open("POST", MESSAGES, pieces=[b'{"messages": [{"body": 1}]}', None])
    await call
    assert (await api.request("HEAD", QUEUE)).status == 404


# Idempotent posts


async def test_a_post_repeated_under_its_key_is_the_same_post(
    api: AsgiDriver, clock: ManualClock
) -> None:
    key = {"Idempotency-Key": "order 66"}
    first = await api.post(MESSAGES, {"messages": [{"body": 1}]}, headers=key)
    clock.advance(seconds=599)
    again = await api.post(MESSAGES, {"messages": [{"body": 1}]}, headers=key)
    assert (again.status, again.json()) == (201, first.json())
    assert again.headers["location"] == first.headers["location"]
    clock.advance(seconds=1)
    later = await api.post(MESSAGES, {"messages": [{"body": 1}]}, headers=key)
    assert later.json() != first.json()
    assert len(bodies(await api.get(f"{MESSAGES}?echo=true"))) == 2


async def test_a_key_reused_for_another_post_is_a_conflict(api: AsgiDriver) -> None:
    key = {"Idempotency-Key": "k"}
    await api.post(MESSAGES, {"messages": [{"body": 1}]}, headers=key)
    reply = await api.post(MESSAGES, {"messages": [{"body": 2}]}, headers=key)
    assert (reply.status, reply.json()["title"]) == (409, "Resource conflict")


async def test_a_key_belongs_to_its_queue_and_project(api: AsgiDriver) -> None:
    key = {"Idempotency-Key": "k"}
    await api.post(MESSAGES, {"messages": [{"body": 1}]}, headers=key)
    for other, target in (
        (api, "/v2/queues/other/messages"),
        (api.with_headers(X_Project_Id="b"), MESSAGES),
    ):
        reply = await other.post(target, {"messages": [{"body": 2}]}, headers=key)
        assert reply.status == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "caf\xe9"])
async def test_a_key_is_at_most_255_printable_ascii_characters(api: AsgiDriver, key: str) -> None:
    reply = await api.post(MESSAGES, {"messages": [{"body": 1}]}, headers={"Idempotency-Key": key})
    assert reply.status == 400
    assert "Idempotency-Key" in reply.json()["description"]


# Attributes


async def test_attributes_show_only_to_readers_that_ask(api: AsgiDriver) -> None:
    posted = b'{"messages": [{"body": 1, "attributes": {"b": 1, "a": "x"}}, {"body": 2}]}'
    href = (await api.post(MESSAGES, posted)).json()["resources"][0]
    for target in (f"{MESSAGES}?echo=true", f"{MESSAGES}?ids={id_of(href)}", href):
        assert b"attributes" not in (await api.get(target)).body
        asked = await api.get(f"{target}{'&' if '?' in target else '?'}attributes=true")
        assert b', "attributes": {"b": 1, "a": "x"}}' in asked.body
    taken = await api.post(f"{QUEUE}/claims?attributes=true")
    assert [m.get("attributes") for m in taken.json()["messages"]] == [{"b": 1, "a": "x"}, None]
    got = await api.get(f"{taken.headers['location']}?attributes=true")
    assert got.json()["messages"][0]["attributes"] == {"b": 1, "a": "x"}
    await api.delete(taken.headers["location"])
    popped = await api.delete(f"{MESSAGES}?pop=1&attributes=true")
    assert popped.json()["messages"][0]["attributes"] == {"b": 1, "a": "x"}


async def test_the_delay_that_is_left_shows_only_to_readers_that_ask(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 20})
    await post(api, "later")
    await post(api, "now", delay=0)
    target = f"{MESSAGES}?echo=true&include_delayed=true&include_claimed=true"
    clock.advance(milliseconds=4_500)
    assert b'"delay"' not in (await api.get(target)).body
    later, now = (await api.get(f"{target}&attributes=true")).json()["messages"]
    assert later["delay"] == 16
    assert "delay" not in now
    clock.advance(milliseconds=15_500)
    await claim(api, limit=2)
    claimed = (await api.get(f"{target}&attributes=true")).json()["messages"]
    assert [set(message) & {"delay"} for message in claimed] == [set(), set()]


async def test_attributes_may_have_16384_bytes(api: AsgiDriver) -> None:
    fits = {"a": "x" * (16384 - 9)}
    assert (await api.post(MESSAGES, {"messages": [{"body": 1, "attributes": fits}]})).status == 201
    more = {"a": "x" * (16384 - 8)}
    reply = await api.post(MESSAGES, {"messages": [{"body": 1, "attributes": more}]})
    assert reply.status == 400
    assert "16384" in reply.json()["description"]


@pytest.mark.parametrize("where", [MESSAGES, "/v2/topics/news/messages"])
@pytest.mark.parametrize(
    "attributes",
    [*(f'{{"a": 1, "{name}": {{}}}}' for name in OURS), '{"_h\\u006fps": 1}', '{"\\u005fhops": 1}'],
)
async def test_what_only_the_service_writes_into_attributes_is_taken_from_nobody(
    where: str, attributes: str, api: AsgiDriver
) -> None:
    mine = '{"deadDelivery": "_hops", "_hopsa": {"_hops": 1}}'
    drafts = f'{{"body": 1, "attributes": {mine}}}, {{"body": 2, "attributes": {attributes}}}'
    reply = await api.post(where, f'{{"messages": [{drafts}]}}')
    assert reply.status == 400
    assert "Message 1 may not have the attribute" in reply.json()["description"]
    assert bodies(await api.get(f"{where}?echo=true")) == []
    taken = await api.post(where, f'{{"messages": [{{"body": 1, "attributes": {mine}}}]}}')
    assert taken.status == 201


# List


async def test_a_missing_queue_lists_as_empty(api: AsgiDriver) -> None:
    reply = await api.get(MESSAGES)
    assert (reply.status, reply.json()) == (200, {"messages": [], "links": []})


async def test_a_client_does_not_see_its_own_messages_unless_it_asks(
    api: AsgiDriver, bob: AsgiDriver
) -> None:
    await post(api, "alice's")
    await post(bob, "bob's")
    assert bodies(await api.get(MESSAGES)) == ["bob's"]
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == ["alice's", "bob's"]


async def test_a_page_is_full_although_own_messages_head_the_queue(
    api: AsgiDriver, bob: AsgiDriver
) -> None:
    await post(api, *range(15))
    await post(bob, *"abc")
    assert bodies(await api.get(f"{MESSAGES}?limit=2")) == ["a", "b"]


async def test_claimed_messages_show_only_on_demand_and_carry_their_claim(
    api: AsgiDriver, clock: ManualClock
) -> None:
    hrefs = await post(api, 1, 2)
    claim_id, _ = await claim(api)
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == [2]
    shown = (await api.get(f"{MESSAGES}?echo=true&include_claimed=true")).json()["messages"]
    assert [message["href"] for message in shown] == [f"{hrefs[0]}?claim_id={claim_id}", hrefs[1]]
    clock.advance(seconds=300)
    shown = (await api.get(f"{MESSAGES}?echo=true")).json()["messages"]
    assert [message["href"] for message in shown] == hrefs


async def test_delayed_messages_show_only_on_demand(api: AsgiDriver, clock: ManualClock) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    await post(api, "late")
    await post(api, "now", delay=0)
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == ["now"]
    everything = await api.get(f"{MESSAGES}?echo=true&include_delayed=true")
    assert bodies(everything) == ["late", "now"]
    clock.advance(seconds=30)
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == ["late", "now"]


async def test_age_counts_whole_seconds_and_expiry_is_exact(
    api: AsgiDriver, clock: ManualClock
) -> None:
    (href,) = await post(api, 1, ttl=60)
    clock.advance(milliseconds=59_999)
    assert (await api.get(href)).json()["age"] == 59
    clock.advance(milliseconds=1)
    assert (await api.get(href)).status == 404
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 20])
async def test_following_next_links_sees_every_message_once(api: AsgiDriver, limit: int) -> None:
    await post(api, *range(7))
    seen: list[object] = []
    href = f"{MESSAGES}?echo=true&limit={limit}"
    while True:
        reply = await api.get(href)
        if not bodies(reply):
            assert reply.json()["links"] == []
            break
        seen += bodies(reply)
        (link,) = reply.json()["links"]
        assert link["rel"] == "next"
        href = link["href"]
    assert seen == list(range(7))
    await post(api, "later")
    assert bodies(await api.get(href)) == ["later"]


async def test_the_next_link_repeats_what_was_asked(api: AsgiDriver) -> None:
    await post(api, 1)
    asked = "limit=5&echo=yes&include_claimed=0&wait=1"
    (link,) = (await api.get(f"{MESSAGES}?{asked}")).json()["links"]
    path, _, query = link["href"].partition("?")
    assert path == MESSAGES
    *repeated, marker = query.split("&")
    assert repeated == [
        "limit=5",
        "echo=true",
        "include_claimed=false",
        "wait=1",
        "include_delayed=true",
    ]
    assert marker.startswith("marker=")
    assert marker.removeprefix("marker=").isdigit()


async def test_a_delay_queue_does_not_show_include_delayed_by_itself(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_default_message_delay": 1})
    await post(api, 1, delay=0)
    (link,) = (await api.get(f"{MESSAGES}?echo=true")).json()["links"]
    assert "include_delayed" not in link["href"]


async def test_a_reader_that_only_follows_links_never_sees_what_is_not_due(
    api: AsgiDriver,
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 600})
    await post(api, "first", delay=0)
    await post(api, "not due")
    await post(api, "second", delay=0)
    patch = [{"op": "remove", "path": "/metadata/_default_message_delay"}]
    kind = {"Content-Type": "application/openstack-messaging-v2.0-json-patch"}
    await api.patch(QUEUE, patch, headers=kind)
    page = await api.get(f"{MESSAGES}?echo=true&limit=1")
    (link,) = page.json()["links"]
    assert "include_delayed=true" in link["href"]
    page = await api.get(link["href"])
    assert bodies(page) == ["second"]
    assert bodies(await api.get(page.json()["links"][0]["href"])) == []
    asked = await api.get(f"{MESSAGES}?echo=true&limit=1&include_delayed=true")
    asked = await api.get(asked.json()["links"][0]["href"])
    assert bodies(asked) == ["not due"]


async def test_a_message_id_serves_as_marker_also_after_the_message_is_gone(
    api: AsgiDriver,
) -> None:
    hrefs = await post(api, *range(4))
    marker = f"{MESSAGES}?echo=true&marker={id_of(hrefs[1])}"
    assert bodies(await api.get(marker)) == [2, 3]
    await api.delete(hrefs[1])
    assert bodies(await api.get(marker)) == [2, 3]


async def test_deleting_the_marked_message_does_not_disturb_paging(api: AsgiDriver) -> None:
    hrefs = await post(api, *range(4))
    (link,) = (await api.get(f"{MESSAGES}?echo=true&limit=2")).json()["links"]
    await api.delete(hrefs[1])
    assert bodies(await api.get(link["href"])) == [2, 3]


@pytest.mark.parametrize(
    "marker", ["garbage", "-1", "%00", "9" * 40, "0x1", "1.5", "g" * 32, "%F0%9F%98%80", "%FF"]
)
async def test_nothing_comes_after_an_unknown_marker(api: AsgiDriver, marker: str) -> None:
    await post(api, 1)
    reply = await api.get(f"{MESSAGES}?echo=true&marker={marker}")
    assert (reply.status, reply.json()) == (200, {"messages": [], "links": []})


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("limit=0", "Invalid API request"),
        ("limit=21", "Invalid API request"),
        ("limit=-3", "Invalid API request"),
        ("limit=many", "Invalid parameter"),
        ("echo=2", "Invalid parameter"),
        ("include_claimed=TRUE", "Invalid parameter"),
        ("include_delayed=maybe", "Invalid parameter"),
        ("wait=-1", "Invalid API request"),
        ("wait=2147483648", "Invalid API request"),
        ("wait=" + "9" * 40, "Invalid API request"),
        ("wait=1.5", "Invalid parameter"),
        ("attributes=all", "Invalid parameter"),
        ("ids=" + "a," * 21, "Invalid API request"),
    ],
)
async def test_a_bad_query_is_refused(api: AsgiDriver, query: str, title: str) -> None:
    reply = await api.get(f"{MESSAGES}?{query}")
    assert (reply.status, reply.json()["title"]) == (400, title)


# By ids


async def test_messages_by_ids_come_in_the_order_asked_claimed_and_own_ones_too(
    api: AsgiDriver,
) -> None:
    a, b, c = map(id_of, await post(api, *"abc"))
    await claim(api)
    for query in (f"ids={c},{a}&ids={UNKNOWN},bad", f"ids={c}&ids={a}", f"ids={c}%2C{a}"):
        reply = await api.get(f"{MESSAGES}?{query}")
        assert bodies(reply) == ["c", "a"]
        assert reply.json().keys() == {"messages"}
    assert len(bodies(await api.get(f"{MESSAGES}?ids={b},{b}"))) == 1


@pytest.mark.parametrize("ids", [UNKNOWN, "bad", f"{UNKNOWN},bad"])
async def test_none_of_the_ids_found_is_404(api: AsgiDriver, ids: str) -> None:
    assert (await api.get(f"{MESSAGES}?ids={ids}")).status == 404
    await post(api, 1)
    reply = await api.get(f"{MESSAGES}?ids={ids}")
    assert (reply.status, reply.json()["title"]) == (404, "Not found")


async def test_empty_ids_are_a_plain_list(api: AsgiDriver) -> None:
    await post(api, 1)
    reply = await api.get(f"{MESSAGES}?ids=&echo=true")
    assert bodies(reply) == [1]
    assert reply.json()["links"]


async def test_twenty_ids_are_the_most(api: AsgiDriver) -> None:
    ids = list(map(id_of, await post(api, *range(20))))
    assert len(bodies(await api.get(f"{MESSAGES}?ids={','.join(ids)}"))) == 20
    reply = await api.get(f"{MESSAGES}?ids={','.join(ids)},{UNKNOWN}")
    assert reply.status == 400
    assert "from 1 to 20, not 21" in reply.json()["description"]


# One


async def test_one_message_shows_whether_claimed_or_delayed(api: AsgiDriver) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    (late,) = await post(api, "late")
    (now,) = await post(api, "now", delay=0)
    claim_id, _ = await claim(api)
    assert (await api.get(late)).json()["body"] == "late"
    assert (await api.get(now)).json()["href"] == f"{now}?claim_id={claim_id}"


@pytest.mark.parametrize("message_id", [UNKNOWN, "bad", "%F0%9F%98%80", "..", "a" * 5000])
async def test_an_unknown_message_is_404(api: AsgiDriver, message_id: str) -> None:
    reply = await api.get(f"{MESSAGES}/{message_id}")
    assert (reply.status, reply.json()["title"]) == (404, "Not found")


async def test_ids_from_elsewhere_are_ids_that_do_not_exist(api: AsgiDriver) -> None:
    (href,) = await post(api, 1)
    other = api.with_headers(X_Project_Id="b")
    elsewhere = href.replace("jobs", "other")
    assert (await other.get(href)).status == 404
    assert (await api.get(elsewhere)).status == 404
    assert (await other.get(f"{MESSAGES}?ids={id_of(href)}")).status == 404
    assert (await other.delete(href)).status == 204
    assert (await api.delete(elsewhere)).status == 204
    assert (await other.delete(f"{MESSAGES}?ids={id_of(href)}")).status == 204
    assert (await api.get(href)).status == 200


# Delete one: the table of §3.5


async def test_what_does_not_exist_is_deleted_with_204(api: AsgiDriver) -> None:
    await post(api, 1)
    held, _ = await claim(api)
    for claim_id in ("", held, "f" * 24, "bad"):
        reply = await api.delete(f"{MESSAGES}/{UNKNOWN}?claim_id={claim_id}")
        assert (reply.status, reply.body) == (204, b"")


async def test_a_free_message_is_deleted_without_a_claim_only(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await post(api, "held by another")
    other, _ = await claim(api)
    (href,) = await post(api, "free")
    for claim_id in (other, "f" * 24, "bad"):
        reply = await api.delete(f"{href}?claim_id={claim_id}")
        assert (reply.status, reply.json()["title"]) == (400, "Unable to delete")
    assert (await api.delete(f"{href}?claim_id=")).status == 204


async def test_an_expired_claim_deletes_nothing(api: AsgiDriver, clock: ManualClock) -> None:
    await post(api, 1)
    _, (message,) = await claim(api)
    clock.advance(seconds=300)
    reply = await api.delete(message["href"])
    assert (reply.status, reply.json()["title"]) == (400, "Unable to delete")
    assert "does not exist or has expired" in reply.json()["description"]


async def test_a_claimed_message_is_deleted_with_its_live_claim_only(api: AsgiDriver) -> None:
    await post(api, 1, 2)
    held, (message,) = await claim(api)
    other, _ = await claim(api)
    href = message["href"].partition("?")[0]
    for query, status in (
        ("", 403),
        (f"?claim_id={other}", 403),
        ("?claim_id=bad", 400),
        (f"?claim_id={'f' * 24}", 400),
        (f"?claim_id={held}", 204),
    ):
        reply = await api.delete(f"{href}{query}")
        assert reply.status == status, query
        if status != 204:
            assert reply.json()["title"] == "Unable to delete"
    assert (await api.get(href)).status == 404


async def test_the_refusals_say_which_of_the_two_it_was(api: AsgiDriver) -> None:
    await post(api, 1)
    held, _ = await claim(api)
    (href,) = await post(api, 2)
    free = await api.delete(f"{href}?claim_id={held}")
    assert "not currently claimed" in free.json()["description"]


# Delete many


async def test_bulk_delete_takes_claimed_messages_unchecked(api: AsgiDriver) -> None:
    ids = list(map(id_of, await post(api, 1, 2, 3)))
    await claim(api)
    reply = await api.delete(f"{MESSAGES}?ids={ids[0]},{ids[1]},{UNKNOWN},bad")
    assert (reply.status, reply.body) == (204, b"")
    everything = await api.get(f"{MESSAGES}?echo=true&include_claimed=true")
    assert bodies(everything) == [3]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "ids=",
        "pop=",
        "ids=&pop=",
        "ids=a&pop=1",
        "claim_ids=a",
        "ids=" + "a," * 21,
        "pop=0",
        "pop=-1",
        "pop=21",
        "pop=%20",
        "pop=x",
        "pop=1e1",
        "pop=9999999999999999999999999",
    ],
)
async def test_a_bulk_delete_names_ids_or_a_count(api: AsgiDriver, query: str) -> None:
    await post(api, 1)
    assert (await api.delete(f"{MESSAGES}?{query}")).status == 400
    assert bodies(await api.get(f"{MESSAGES}?echo=true")) == [1]


async def test_an_operator_may_ask_for_the_claims_of_a_bulk_delete(make_api) -> None:
    api = make_api(message_delete_with_claim_id=True)
    ids = list(map(id_of, await post(api, 1, 2)))
    held, _ = await claim(api)
    both = ",".join(ids)
    for query in (
        f"ids={ids[0]}",
        f"ids={ids[0]}&claim_ids=",
        f"ids={ids[0]}&claim_ids=bad",
        f"ids={ids[0]}&claim_ids={'f' * 24}",
        f"ids={both}&claim_ids={held}",
        f"claim_ids={held}",
    ):
        assert (await api.delete(f"{MESSAGES}?{query}")).status == 400, query
    assert (await api.delete(f"{MESSAGES}?ids={ids[0]}&claim_ids={held}")).status == 204
    assert (await api.delete(f"{MESSAGES}/{ids[1]}")).status == 204


# Pop


async def test_pop_takes_the_oldest_available_in_its_own_shape(
    api: AsgiDriver, clock: ManualClock
) -> None:
    await api.put(QUEUE, {"_default_message_delay": 30})
    await post(api, "delayed")
    await post(api, "claimed", delay=0)
    await claim(api)
    hrefs = await post(api, {"job": 17}, "b", "c", delay=0, ttl=900)
    clock.advance(seconds=4)
    reply = await api.delete(f"{MESSAGES}?pop=2")
    assert reply.status == 200
    assert reply.json()["messages"][0] == {
        "id": id_of(hrefs[0]),
        "age": 4,
        "ttl": 900,
        "body": {"job": 17},
        "claim_id": None,
        "claim_count": 0,
    }
    assert bodies(reply) == [{"job": 17}, "b"]
    assert bodies(await api.delete(f"{MESSAGES}?pop=20")) == ["c"]
    assert (await api.get(hrefs[0])).status == 404


async def test_pop_shows_how_often_a_message_was_claimed(api: AsgiDriver) -> None:
    await post(api, 1)
    for _ in range(2):
        claim_id, _ = await claim(api)
        await api.delete(f"{QUEUE}/claims/{claim_id}")
    (popped,) = (await api.delete(f"{MESSAGES}?pop=1")).json()["messages"]
    assert (popped["claim_count"], popped["claim_id"]) == (2, None)


async def test_pop_with_nothing_is_an_empty_array(api: AsgiDriver) -> None:
    reply = await api.delete(f"{MESSAGES}?pop=1")
    assert (reply.status, reply.json()) == (200, {"messages": []})
    assert (await api.request("HEAD", QUEUE)).status == 404


# Checksums


async def test_checksums_show_when_the_operator_enables_them(make_api, api: AsgiDriver) -> None:
    sums = make_api(enable_checksum=True)
    posted = b'{"messages": [{"body": {"n":1}}, {"body": "two"}, {"body": null}]}'
    await sums.post(MESSAGES, posted)
    shown = (await sums.get(f"{MESSAGES}?echo=true")).json()["messages"]
    assert [message.get("checksum") for message in shown] == [
        "MD5:96d730b7a405ed0e9cb1068b43e06fe4",
        "MD5:6f237ec7b76451c132689c83822a8b76",
        None,
    ]
    assert b"checksum" not in (await api.get(f"{MESSAGES}?echo=true")).body
    popped = (await sums.delete(f"{MESSAGES}?pop=1")).json()["messages"]
    assert popped[0]["checksum"] == "MD5:96d730b7a405ed0e9cb1068b43e06fe4"
