"""What goes over the wire, and how answers and refusals become records and errors."""

import pytest
from aiohttp import web

from nuska.client import (
    BadRequest,
    Client,
    Conflict,
    ErrorAnswer,
    NewMessage,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    Unavailable,
    UnreadableAnswer,
)
from nuska.client.address import Address
from nuska.client.paging import PAUSE

STATS = {"messages": {"free": 0, "claimed": 0, "total": 0}}


@pytest.mark.parametrize(
    ("text", "base", "socket_path"),
    [
        ("http://127.0.0.1:8888", "http://127.0.0.1:8888", None),
        ("http://127.0.0.1:8888/", "http://127.0.0.1:8888", None),
        ("https://queues.example/v2", "https://queues.example", None),
        ("https://queues.example/messaging/v2/", "https://queues.example/messaging", None),
        ("http://[::1]:8888", "http://[::1]:8888", None),
        ("unix:/run/nuska.sock", "http://localhost", "/run/nuska.sock"),
        ("unix:///run/nuska.sock", "http://localhost", "/run/nuska.sock"),
        ("unix:nuska.sock", "http://localhost", "nuska.sock"),
        ("http+unix://%2Frun%2Fnuska.sock/v2", "http://localhost", "/run/nuska.sock"),
    ],
)
def test_an_address_may_be_written_in_several_ways(text, base, socket_path):
    assert Address.parse(text) == Address(base, socket_path)


@pytest.mark.parametrize(
    "text",
    ["", "localhost:8888", "ftp://host", "http://", "unix:", "http+unix://", "http://h/?a=1"],
)
def test_an_address_that_is_none_is_refused_before_anything_is_sent(text):
    with pytest.raises(ValueError, match=r"address|socket"):
        Client(text, project="shop")


async def test_every_request_says_who_asks_and_for_which_project(client, server, reply):
    server.answers(reply.says(200, STATS))
    await client.queue("jobs").stats()
    await client.queue("jobs").stats()
    first, second = server.seen
    assert first.headers["client-id"] == second.headers["client-id"] == client.client_id
    assert first.headers["x-project-id"] == "shop"
    assert first.headers["accept"] == "application/json"


async def test_a_prefix_in_the_address_is_kept_although_links_lack_it(server, reply):
    following = {"rel": "next", "href": "/v2/queues?limit=1&marker=a"}
    server.answers(
        reply.says(200, {"queues": [{"name": "a", "href": "/v2/queues/a"}], "links": [following]}),
        reply.says(200, {"queues": [], "links": []}),
    )
    async with Client(f"{server.url}/behind/a/proxy/", project="shop") as client:
        assert [entry.name async for entry in client.queues(page=1)] == ["a"]
    assert [seen.path for seen in server.seen] == ["/behind/a/proxy/v2/queues"] * 2
    assert server.seen[1].query == {"limit": "1", "marker": "a"}


async def test_names_and_ids_stay_one_segment_whatever_is_in_them(client, server, reply):
    server.answers(reply.says(204))
    await client.queue("a/b?c").delete_message("x/../y")
    assert server.seen[0].path == "/v2/queues/a%2Fb%3Fc/messages/x%2F..%2Fy"
    with pytest.raises(ValueError, match="empty"):
        client.queue("")


async def test_a_post_sends_what_was_given_and_nothing_else(client, server, reply):
    server.answers(reply.says(201, {"resources": ["/v2/queues/jobs/messages/m1"]}))
    await client.queue("jobs").post_many(
        [NewMessage(body=None), NewMessage(body="ü", ttl=60, delay=0, attributes={"k": 1})]
    )
    assert (
        server.seen[0].body
        == (
            '{"messages":[{"body":null},{"body":"ü","ttl":60,"delay":0,"attributes":{"k":1}}]}'
        ).encode()
    )


@pytest.mark.parametrize("body", [float("nan"), float("inf"), "\ud800", object(), {1, 2}])
async def test_what_json_cannot_say_is_refused_before_anything_is_sent(client, server, body):
    with pytest.raises((ValueError, TypeError)):
        await client.queue("jobs").post(body)
    assert server.seen == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, NotAuthenticated),
        (403, NotAllowed),
        (404, NotFound),
        (409, Conflict),
        (418, ErrorAnswer),
        (500, ErrorAnswer),
        (503, Unavailable),
    ],
)
async def test_each_status_is_an_error_of_its_own(client, server, reply, status, kind):
    server.answers(
        reply.says(
            status,
            {"title": "Short", "description": "Long."},
            {"X-OpenStack-Request-ID": "req-1"},
        )
    )
    with pytest.raises(ErrorAnswer) as refused:
        await client.queue("jobs").stats()
    error = refused.value
    assert type(error) is kind
    assert (error.status, error.title, error.description) == (status, "Short", "Long.")
    assert error.request_id == "req-1"
    assert str(error) == "Short: Long."


async def test_a_refusal_by_the_token_check_is_read_as_well(client, server, reply):
    document = {"error": {"code": 401, "title": "Unauthorized", "message": "Who are you?"}}
    server.answers(reply.says(401, document))
    with pytest.raises(NotAuthenticated) as refused:
        await client.queue("jobs").stats()
    assert str(refused.value) == "Unauthorized: Who are you?"


async def test_an_error_without_a_document_is_told_by_its_status_line(client, server, reply):
    server.answers(reply.says(404))
    with pytest.raises(NotFound) as refused:
        await client.queue("jobs").stats()
    assert str(refused.value) == "404 Not Found"


async def test_a_page_of_something_else_is_not_taken_for_an_answer(client, server):
    async def welcome(request):
        return web.Response(text="<h1>It works!</h1>", content_type="text/html")

    server.answers(welcome)
    with pytest.raises(UnreadableAnswer):
        await client.queue("jobs").stats()


async def test_a_redirect_is_not_followed(client, server, reply):
    server.answers(reply.says(302, headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(ErrorAnswer) as refused:
        await client.queue("jobs").stats()
    assert refused.value.status == 302


async def test_a_message_tells_its_claim_from_its_href(client, server, reply):
    server.answers(
        reply.says(
            200,
            {
                "id": "m1",
                "href": "/v2/queues/jobs/messages/m1?claim_id=c1",
                "ttl": 60,
                "age": 1,
                "body": [1, {"a": None}],
                "something": "new",
            },
        )
    )
    message = await client.queue("jobs").message("m1")
    assert (message.id, message.claim_id, message.body) == ("m1", "c1", [1, {"a": None}])


async def test_a_wait_extends_the_deadline_of_the_call_and_goes_with_every_page(
    client, server, reply
):
    server.answers(
        reply.says(
            200,
            {
                "messages": [{"id": "m1", "ttl": 60, "age": 0, "body": 1}],
                "links": [{"rel": "next", "href": "/v2/queues/jobs/messages?marker=5&echo=true"}],
            },
        ),
        reply.says(200, {"messages": [], "links": []}),
    )
    listed = [message.id async for message in client.queue("jobs").messages(wait=3)]
    assert listed == ["m1"]
    assert [seen.query.get("wait") for seen in server.seen] == ["3", "3"]


async def test_to_follow_goes_on_after_the_empty_page(client, server, reply):
    def page(number):
        href = f"/v2/queues/jobs/messages?marker={number}"
        message = {"id": f"m{number}", "ttl": 60, "age": 0, "body": number}
        return reply.says(200, {"messages": [message], "links": [{"rel": "next", "href": href}]})

    empty = reply.says(200, {"messages": [], "links": []})
    server.answers(page(1), empty, empty, page(2), empty)
    listed = []
    async for message in client.queue("jobs").messages(wait=1, follow=True):
        listed.append(message.body)
        if message.body == 2:
            break
    assert listed == [1, 2]
    assert [seen.query.get("marker") for seen in server.seen] == [None, "1", "1", "1"]


async def test_to_follow_pauses_when_the_server_does_not_wait(client, server, reply, hurried):
    message = {"id": "m1", "ttl": 60, "age": 0, "body": 1}
    empty = reply.says(200, {"messages": [], "links": []})
    server.answers(empty, empty, empty, reply.says(200, {"messages": [message], "links": []}))
    async for _ in client.queue("jobs").messages(wait=30, follow=True):
        break
    assert hurried.slept == [PAUSE] * 3


def test_to_follow_without_waiting_is_refused():
    with pytest.raises(ValueError, match="wait"):
        Client(project="shop").queue("jobs").messages(follow=True)


async def test_bulk_deletes_name_as_many_as_one_call_may(client, server, reply):
    server.answers(reply.says(204))
    await client.queue("jobs").delete_messages([f"m{n}" for n in range(45)])
    assert [seen.query["ids"].count(",") + 1 for seen in server.seen] == [20, 20, 5]


async def test_metadata_keys_with_the_characters_of_a_pointer_are_escaped(client, server, reply):
    server.answers(reply.says(200, {}))
    await client.queue("jobs").update({"a/b": 1}, remove=["c~d"])
    assert server.seen[0].headers["content-type"] == (
        "application/openstack-messaging-v2.0-json-patch"
    )
    assert server.seen[0].body == (
        b'[{"op":"add","path":"/metadata/a~1b","value":1},{"op":"remove","path":"/metadata/c~0d"}]'
    )


async def test_a_client_that_is_not_open_says_so():
    with pytest.raises(RuntimeError, match="async with"):
        await Client(project="shop").queue("jobs").stats()
