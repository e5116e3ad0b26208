"""MessagePack in and out: the same API in another encoding."""

import asyncio
import datetime

import msgspec
import pytest

from nuska.testing.asgi import AsgiDriver, Reply

QUEUE = "/v2/queues/jobs"
MESSAGES = f"{QUEUE}/messages"
SENT = {"Content-Type": "application/msgpack"}
WANTED = {"Accept": "application/msgpack"}

pack = msgspec.msgpack.encode


def unpacked(reply: Reply) -> dict:
    assert reply.headers["content-type"] == "application/msgpack"
    return msgspec.msgpack.decode(reply.body)


async def test_a_posted_body_reads_the_same_in_both_encodings(api: AsgiDriver) -> None:
    body = {"job": 17, "ratio": 0.5, "text": "κόσμε", "list": [None, True, -(2**63), 2**63 - 1]}
    posted = await api.post(
        MESSAGES, pack({"messages": [{"body": body, "ttl": 900}]}), headers={**SENT, **WANTED}
    )
    assert posted.status == 201
    (href,) = unpacked(posted)["resources"]
    assert (await api.get(href)).json()["body"] == body
    assert unpacked(await api.get(href, headers=WANTED))["body"] == body


async def test_every_route_answers_in_msgpack(api: AsgiDriver) -> None:
    await api.put(QUEUE, pack({"team": "billing"}), headers=SENT)
    await api.post(MESSAGES, pack({"messages": [{"body": 1}] * 3}), headers=SENT)
    assert unpacked(await api.get(QUEUE, headers=WANTED))["team"] == "billing"
    listed = unpacked(await api.get("/v2/queues", headers=WANTED))
    assert listed["queues"] == [{"name": "jobs", "href": QUEUE}]
    assert unpacked(await api.get(f"{QUEUE}/stats", headers=WANTED))["messages"]["total"] == 3
    claimed = await api.post(
        f"{QUEUE}/claims?limit=1", pack({"ttl": 60, "grace": None}), headers={**SENT, **WANTED}
    )
    assert len(unpacked(claimed)["messages"]) == 1
    popped = await api.delete(f"{MESSAGES}?pop=1", headers=WANTED)
    assert unpacked(popped)["messages"][0]["body"] == 1
    assert "versions" in unpacked(await api.get("/", headers=WANTED))
    assert "resources" in unpacked(await api.get("/v2/", headers=WANTED))


async def test_an_answer_without_a_body_stays_without(api: AsgiDriver) -> None:
    reply = await api.put(QUEUE, headers=WANTED)
    assert (reply.status, reply.body) == (201, b"")


async def test_refusals_come_in_msgpack_too(api: AsgiDriver) -> None:
    refused = await api.post(MESSAGES, b"", headers=WANTED)
    assert (refused.status, unpacked(refused)["title"]) == (400, "Invalid request body")
    refused = await api.post(QUEUE, b"", headers=WANTED)
    assert (refused.status, unpacked(refused)["title"]) == (405, "405 Method Not Allowed")


@pytest.mark.parametrize(
    ("accept", "packed"),
    [
        ("application/msgpack", True),
        ("application/msgpack, application/json;q=0.5", True),
        ("application/json, application/msgpack;q=0.9", False),
        ("application/json, application/msgpack", False),
        ("application/*", False),
        ("*/*", False),
    ],
)
async def test_json_is_preferred_unless_msgpack_is_wanted_more(
    api: AsgiDriver, accept: str, packed: bool
) -> None:
    reply = await api.get(QUEUE, headers={"Accept": accept})
    assert (reply.headers["content-type"] == "application/msgpack") is packed


@pytest.mark.parametrize(
    "body",
    [
        b"binary",
        2**63,
        2**64 - 1,
        float("nan"),
        float("inf"),
        {1: "a"},
        {None: "a"},
        {b"key": "a"},
        [{"deep": [{2: 1}]}],
        datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC),
        msgspec.msgpack.Ext(5, b"data"),
    ],
)
async def test_what_json_cannot_say_is_refused(api: AsgiDriver, body: object) -> None:
    reply = await api.post(MESSAGES, pack({"messages": [{"body": body}]}), headers=SENT)
    assert (reply.status, reply.json()["title"]) == (400, "Invalid request body")
    assert (await api.request("HEAD", QUEUE)).status == 404


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x81",
        b"\x81\xa1",
        b"\x80\x80",
        b"\xa1\xff",
        b"\x81\xa8messages\x91\x81\xa4body\xa1\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000 + b"\xc0",
        b"\x81\xa8messages\x91\x81\xa4body" + b"\x91" * 101 + b"\xc0",
        pack("text"),
        pack([{"body": 1}]),
    ],
)
async def test_malformed_msgpack_is_refused(api: AsgiDriver, data: bytes) -> None:
    reply = await api.post(MESSAGES, data, headers=SENT)
    assert (reply.status, reply.json()["title"]) == (400, "Invalid request body")


async def test_the_media_type_may_carry_parameters(api: AsgiDriver) -> None:
    kind = {"Content-Type": "Application/MsgPack; v=1"}
    reply = await api.post(MESSAGES, pack({"messages": [{"body": 1}]}), headers=kind)
    assert reply.status == 201


async def test_the_size_limit_counts_the_bytes_sent(make_api) -> None:
    api = make_api(max_messages_post_size=30)
    fits = pack({"messages": [{"body": "x" * 12}]})
    assert len(fits) == 30
    assert (await api.post(MESSAGES, fits, headers=SENT)).status == 201
    more = pack({"messages": [{"body": "x" * 13}]})
    assert (await api.post(MESSAGES, more, headers=SENT)).status == 400


@pytest.mark.parametrize("body", [[None] * 50_000, "\x01" * 50_000, [1.2345678901234567] * 6_000])
async def test_a_body_that_would_fill_pages_as_json_is_refused(make_api, body: object) -> None:
    api = make_api(max_messages_post_size=60_000)
    data = pack({"messages": [{"body": body}]})
    assert len(data) <= 60_000
    reply = await api.post(MESSAGES, data, headers=SENT)
    if len(msgspec.json.encode(body)) <= 120_000:
        assert reply.status == 201
    else:
        assert (reply.status, reply.json()["title"]) == (400, "Invalid API request")
        assert "60000" in reply.json()["description"]


@pytest.mark.parametrize("count", [15, 16, 20])
async def test_a_page_of_large_bodies_reads_the_same_in_both_encodings(
    make_api, count: int
) -> None:
    api = make_api()
    bodies = [{"list": [[]] * 5_000, "number": number} for number in range(count)]
    for body in bodies:
        await api.post(MESSAGES, {"messages": [{"body": body}]})
    where = f"{MESSAGES}?echo=true&limit={count}"
    page = unpacked(await api.get(where, headers=WANTED))
    assert page == (await api.get(where)).json()
    assert [message["body"] for message in page["messages"]] == bodies


async def test_an_object_of_many_members_reads_the_same_in_both_encodings(
    api: AsgiDriver,
) -> None:
    metadata = {f"key {number}": number for number in range(3_000)}
    await api.put(QUEUE, metadata)
    assert unpacked(await api.get(QUEUE, headers=WANTED)) == (await api.get(QUEUE)).json()


async def test_others_get_their_turns_while_a_large_page_is_packed(api: AsgiDriver) -> None:
    for _ in range(20):
        await api.post(MESSAGES, {"messages": [{"body": ["x" * 1000] * 200}]})
    page = asyncio.create_task(api.get(f"{MESSAGES}?echo=true&limit=20", headers=WANTED))
    small = asyncio.create_task(api.get("/v2/ping"))
    await small
    assert not page.done()
    assert len(unpacked(await page)["messages"]) == 20
