"""Calls over WebSocket: many at once, and what becomes of them when the line is lost."""

import asyncio

import pytest

from nuska.client import (
    CannotConnect,
    Client,
    ConnectionBroken,
    DeadlinePassed,
    NotAllowed,
    NotAuthenticated,
    RetryPolicy,
    Unavailable,
)
from nuska.testing.timing import ManualTiming


@pytest.fixture
async def over(lines, hurried: ManualTiming):
    """Opens a client of the scripted server."""
    async with asyncio.timeout(30):
        clients = []

        async def opened(**options) -> Client:
            client = Client(
                lines.url, project="shop", transport="websocket", timing=hurried.timing, **options
            )
            clients.append(await client.__aenter__())
            return client

        yield opened
        for client in clients:
            await client.__aexit__(None, None, None)


async def test_answers_find_who_asked_in_whatever_order_they_come(lines, over) -> None:
    async def backwards(line) -> None:
        requests = [await line.asked("message_get") for _ in range(10)]
        for request in reversed(requests):
            id_ = request["body"]["message_id"]
            message = {"id": id_, "body": f"of {id_}", "ttl": 60, "age": 0}
            await line.replies(request, {"messages": message})
        await line.ends()

    lines.script = [backwards]
    jobs = (await over()).queue("jobs")
    found = await asyncio.gather(*(jobs.message(f"id-{number}") for number in range(10)))
    assert [message.body for message in found] == [f"of id-{number}" for number in range(10)]
    assert lines.opened == 1


async def test_posts_at_once_go_together(lines, over) -> None:
    async def stores(line) -> None:
        requests = [await line.asked("message_post") for _ in range(2)]
        for request in requests:
            counts.append(len(request["body"]["messages"]))
            ids = [f"id-{message['body']}" for message in request["body"]["messages"]]
            await line.replies(request, {"message_ids": ids}, status=201)
        await line.ends()

    counts: list[int] = []
    lines.script = [stores]
    jobs = (await over()).queue("jobs")
    ids = await asyncio.gather(*(jobs.post(number) for number in range(50)))
    assert ids == [f"id-{number}" for number in range(50)]
    assert counts == [25, 25]


async def test_posts_by_a_signed_url_and_posts_with_a_key_go_by_themselves(lines, over) -> None:
    async def stores(line) -> None:
        for _ in range(5):
            request = await line.asked("message_post")
            assert len(request["body"]["messages"]) == 1
            await line.replies(request, {"message_ids": ["id"]}, status=201)
        await line.ends()

    lines.script = [stores, stores]
    signed = (await over(headers={"URL-Signature": "0" * 64})).queue("jobs")
    await asyncio.gather(*(signed.post(number) for number in range(5)))
    keyed = (await over()).queue("jobs")
    await asyncio.gather(*(keyed.post(number, key=f"key-{number}") for number in range(5)))


async def test_a_post_that_was_under_way_when_the_line_broke_comes_again_with_its_key(
    lines, over
) -> None:
    keys = []

    async def breaks(line) -> None:
        keys.append((await line.asked("message_post"))["headers"]["Idempotency-Key"])
        await line.breaks_off()

    async def answers(line) -> None:
        request = await line.asked("message_post")
        keys.append(request["headers"]["Idempotency-Key"])
        await line.replies(request, {"message_ids": ["id-1"]}, status=201)
        await line.ends()

    lines.script = [breaks, answers]
    jobs = (await over()).queue("jobs")
    assert await jobs.post("once") == "id-1"
    assert keys[0] == keys[1]


async def test_a_claim_that_was_under_way_when_the_line_broke_is_not_made_again(
    lines, over
) -> None:
    async def breaks(line) -> None:
        await line.asked("claim_create")
        await line.breaks_off()

    lines.script = [breaks]
    jobs = (await over()).queue("jobs")
    with pytest.raises(ConnectionBroken):
        await jobs.create_claim()
    assert lines.opened == 1


async def test_everybody_under_way_hears_that_the_line_broke_and_one_line_replaces_it(
    lines, over
) -> None:
    async def breaks(line) -> None:
        for _ in range(5):
            await line.asked("message_delete")
        await line.breaks_off()

    async def answers(line) -> None:
        for _ in range(5):
            await line.replies(await line.asked("message_delete"), {}, status=204)
        await line.ends()

    lines.script = [breaks, answers]
    jobs = (await over()).queue("jobs")
    await asyncio.gather(*(jobs.delete_message(f"id-{number}") for number in range(5)))
    assert lines.opened == 2


async def test_a_refusal_is_the_same_error_as_over_http(lines, over) -> None:
    async def refuses(line) -> None:
        reason = {"title": "Unable to delete", "exception": "No such claim.", "error": "No."}
        await line.replies(await line.asked("message_delete"), reason, status=403)
        away = {"exception": "Later.", "error": "Later.", "retry_after": 2}
        await line.replies(await line.asked("message_get"), away, status=503)
        hopeless = {"title": "Encryption key missing", "exception": "No key.", "error": "No key."}
        await line.replies(await line.asked("message_get"), hopeless, status=503)
        await line.ends()

    lines.script = [refuses]
    jobs = (await over(retry=RetryPolicy(attempts=1))).queue("jobs")
    with pytest.raises(NotAllowed, match="No such claim") as refusal:
        await jobs.delete_message("id-1", claim_id="claim-1")
    assert refusal.value.title == "Unable to delete"
    with pytest.raises(Unavailable) as refusal:
        await jobs.message("id-1")
    assert (refusal.value.retry_after, refusal.value.final) == (2, False)
    with pytest.raises(Unavailable) as refusal:
        await jobs.message("id-2")
    assert refusal.value.final


async def test_a_token_is_shown_once_and_no_request_repeats_it(lines, over) -> None:
    async def authenticates(line) -> None:
        proof = await line.asked("authenticate")
        assert proof["headers"]["X-Auth-Token"] == "t0ken"
        assert proof["headers"]["X-Project-ID"] == "shop"
        await line.replies(proof, {"message": "Authentified."})
        request = await line.asked("message_delete")
        assert "t0ken" not in str(request)
        await line.replies(request, {}, status=204)
        await line.ends()

    lines.script = [authenticates]
    client = await over(headers={"x-auth-token": "t0ken"})
    await client.queue("jobs").delete_message("id-1")


async def test_a_token_that_is_refused_is_an_error_of_the_call(lines, over) -> None:
    async def refuses(line) -> None:
        request = await line.asked("authenticate")
        await line.replies(request, {"error": "Authentication failed."}, status=401)
        await line.ends()

    lines.script = [refuses]
    client = await over(headers={"X-Auth-Token": "wr0ng"})
    with pytest.raises(NotAuthenticated) as refusal:
        await client.queue("jobs").delete_message("id-1")
    assert "wr0ng" not in str(refusal.value)


async def test_terms_of_a_signed_url_are_lists_in_frames(lines, over) -> None:
    async def looks(line) -> None:
        request = await line.asked("message_delete")
        assert request["headers"]["URL-Methods"] == ["DELETE", "GET"]
        assert request["headers"]["URL-Paths"] == ["/v2/queues/jobs/messages"]
        await line.replies(request, {}, status=204)
        await line.ends()

    lines.script = [looks]
    signed = {
        "URL-Signature": "0" * 64,
        "URL-Expires": "2031-03-04T05:06:07",
        "URL-Methods": "DELETE,GET",
        "URL-Paths": "/v2/queues/jobs/messages",
    }
    await (await over(headers=signed)).queue("jobs").delete_message("id-1")


async def test_a_server_that_nobody_reaches_is_an_error_after_a_few_attempts(hurried) -> None:
    url = "http://127.0.0.1:9"  # discard; nobody listens
    async with Client(url, project="shop", transport="websocket", timing=hurried.timing) as client:
        with pytest.raises(CannotConnect, match=r"127\.0\.0\.1:9"):
            await client.queue("jobs").post(1)
    assert len(hurried.slept) == RetryPolicy().attempts - 1


async def test_a_call_ends_at_its_deadline_and_the_line_stays_good(lines, over, later) -> None:
    async def ponders(line) -> None:
        late = await line.asked("message_get")
        later(16)
        request = await line.asked("message_delete")
        await line.replies(late, {"messages": {}})
        await line.replies(request, {}, status=204)
        await line.ends()

    lines.script = [ponders]
    client = await over(timeout=15.0)
    with pytest.raises(DeadlinePassed):
        await client.queue("jobs").message("id-1")
    await client.queue("jobs").delete_message("id-1")
    assert lines.opened == 1


async def test_closing_the_client_ends_what_is_under_way(lines, hurried) -> None:
    async def says_nothing(line) -> None:
        await line.asked("claim_create")
        asked.set()
        await line.ends()

    asked = asyncio.Event()
    lines.script = [says_nothing]
    client = Client(lines.url, project="shop", transport="websocket", timing=hurried.timing)
    async with asyncio.timeout(30):
        async with client:
            claiming = asyncio.create_task(client.queue("jobs").create_claim(wait=20))
            await asked.wait()
        with pytest.raises(ConnectionBroken):
            await claiming
        with pytest.raises(RuntimeError, match="not open"):
            await client.queue("jobs").post(1)
