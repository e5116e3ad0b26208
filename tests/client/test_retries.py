"""What is sent again, when, and what the caller learns if nothing helps."""

import asyncio
import random
import socket

import pytest
from aiohttp import web

from nuska.client import (
    BadRequest,
    CannotConnect,
    Client,
    ConnectionBroken,
    DeadlinePassed,
    RetryPolicy,
    Unavailable,
)
from nuska.client.errors import ClientError, ErrorAnswer
from nuska.client.retries import Repeat, may_repeat

POSTED = {"resources": ["/v2/queues/jobs/messages/m1"]}
STATS = {"messages": {"free": 0, "claimed": 0, "total": 0}}
POPPED = {"messages": [{"id": "m1", "body": 1, "ttl": 60, "age": 0}]}


async def test_a_post_that_broke_off_is_sent_again_with_the_same_key(client, server, reply):
    server.answers(reply.breaks_off, reply.says(201, POSTED))
    assert await client.queue("jobs").post({"job": 17}) == "m1"
    first, second = server.seen
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body


async def test_every_post_has_a_key_of_its_own(client, server, reply):
    server.answers(reply.says(201, POSTED))
    await client.queue("jobs").post(1)
    await client.queue("jobs").post(1)
    first, second = server.seen
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


async def test_a_server_that_knows_the_key_stores_an_uncertain_post_once(client, server):
    stored: dict[str, int] = {}

    async def answer(request):
        key = request.headers["Idempotency-Key"]
        if key not in stored:
            stored[key] = len(stored) + 1
            request.transport.abort()
        href = f"/v2/queues/jobs/messages/m{stored[key]}"
        return web.json_response({"resources": [href]}, status=201)

    server.answers(answer)
    assert await client.queue("jobs").post("once") == "m1"
    assert list(stored.values()) == [1]


@pytest.mark.parametrize("broken", ["breaks_off", "breaks_off_in_mid_answer"])
async def test_a_read_that_broke_off_is_sent_again(client, server, reply, broken):
    server.answers(getattr(reply, broken), reply.says(200, STATS))
    assert (await client.queue("jobs").stats()).total == 0
    assert len(server.seen) == 2


@pytest.mark.parametrize("broken", ["breaks_off", "breaks_off_in_mid_answer"])
async def test_a_pop_that_broke_off_is_sent_once(client, server, reply, broken):
    server.answers(getattr(reply, broken), reply.says(200, POPPED))
    with pytest.raises(ConnectionBroken):
        await client.queue("jobs").pop()
    assert len(server.seen) == 1


async def test_a_pop_on_a_used_connection_that_broke_off_is_sent_once(client, server, reply):
    server.answers(reply.says(200, STATS), reply.breaks_off, reply.says(200, POPPED))
    await client.queue("jobs").stats()
    with pytest.raises(ConnectionBroken):
        await client.queue("jobs").pop()
    assert len(server.seen) == 2


async def test_a_claim_that_broke_off_is_sent_once(client, server, reply):
    server.answers(reply.breaks_off, reply.says(204))
    with pytest.raises(ConnectionBroken):
        await client.queue("jobs").create_claim()
    assert len(server.seen) == 1


async def test_a_claim_refused_for_now_is_sent_once(client, server, reply):
    server.answers(reply.says(503), reply.says(204))
    with pytest.raises(Unavailable):
        await client.queue("jobs").create_claim()
    assert len(server.seen) == 1


async def test_a_change_that_removes_keys_is_sent_once(client, server, reply):
    server.answers(reply.breaks_off, reply.says(200, {}))
    with pytest.raises(ConnectionBroken):
        await client.queue("jobs").update({"a": 1}, remove=["b"])
    assert len(server.seen) == 1


async def test_a_change_that_only_sets_keys_is_sent_again(client, server, reply):
    server.answers(reply.breaks_off, reply.says(200, {"a": 1}))
    assert await client.queue("jobs").update({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("call", ["delete", "create", "purge"])
async def test_deletes_creations_and_purges_are_sent_again(client, server, reply, call):
    server.answers(reply.breaks_off, reply.says(503), reply.says(204))
    await getattr(client.queue("jobs"), call)()
    assert len(server.seen) == 3


async def test_a_server_that_asks_for_patience_gets_it(client, server, reply, hurried):
    server.answers(reply.says(503, headers={"Retry-After": "7"}), reply.says(200, STATS))
    await client.queue("jobs").stats()
    (pause,) = hurried.slept
    assert 7 <= pause <= 7 + RetryPolicy().first


async def test_patience_may_be_asked_for_by_date(client, server, reply, hurried):
    dates = {
        "Date": "Mon, 02 Apr 2035 10:00:00 GMT",
        "Retry-After": "Mon, 02 Apr 2035 10:00:04 GMT",
    }
    server.answers(reply.says(503, headers=dates), reply.says(200, STATS))
    await client.queue("jobs").stats()
    (pause,) = hurried.slept
    assert 4 <= pause <= 4 + RetryPolicy().first


async def test_patience_beyond_the_deadline_is_not_waited_for(client, server, reply, hurried):
    server.answers(reply.says(503, headers={"Retry-After": "3600"}))
    with pytest.raises(Unavailable) as refused:
        await client.queue("jobs").stats()
    assert refused.value.retry_after == 3600
    assert hurried.slept == []


async def test_attempts_come_to_an_end(client, server, reply):
    server.answers(reply.says(503))
    with pytest.raises(Unavailable):
        await client.queue("jobs").stats()
    assert len(server.seen) == RetryPolicy().attempts


async def test_a_mistake_is_not_repeated(client, server, reply):
    server.answers(reply.says(400, {"title": "Invalid API request", "description": "No."}))
    with pytest.raises(BadRequest):
        await client.queue("jobs").post(1)
    assert len(server.seen) == 1


async def test_a_refused_connection_is_tried_again_even_for_a_pop(hurried):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with Client(f"http://127.0.0.1:{port}", project="shop", timing=hurried.timing) as client:
        with pytest.raises(CannotConnect):
            await client.queue("jobs").pop()
    assert len(hurried.slept) == RetryPolicy().attempts - 1


async def test_a_failure_that_is_certain_does_not_hide_an_uncertain_one(server, reply, hurried):
    server.answers(reply.breaks_off, reply.says(429))
    async with Client(server.url, project="shop", timing=hurried.timing) as client:
        with pytest.raises(ConnectionBroken):
            await client.queue("jobs").post(1)


async def test_a_call_ends_at_its_deadline(server, reply):
    hold = asyncio.Event()

    async def never(request):
        await hold.wait()

    server.answers(never)
    try:
        async with Client(server.url, project="shop", timeout=0.05) as client:
            with pytest.raises(DeadlinePassed):
                await client.queue("jobs").stats()
    finally:
        hold.set()


def test_pauses_double_up_to_the_longest_and_are_shared_out_at_random():
    policy = RetryPolicy(first=1.0, longest=8.0)
    dice = random.Random(7)
    for attempt, ceiling in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 8.0), (500, 8.0)]:
        pauses = [policy.pause(attempt, retry_after=None, dice=dice) for _ in range(200)]
        assert 0 <= min(pauses) < ceiling * 0.2
        assert ceiling * 0.8 < max(pauses) <= ceiling


@pytest.mark.parametrize(
    ("error", "harmless", "harmful"),
    [
        (CannotConnect(), True, True),
        (ConnectionBroken(), True, False),
        (DeadlinePassed(), False, False),
        (ErrorAnswer(408), True, True),
        (ErrorAnswer(429), True, True),
        (ErrorAnswer(500), False, False),
        (ErrorAnswer(502), True, False),
        (Unavailable(503), True, False),
        (ErrorAnswer(504), True, False),
        (BadRequest(400), False, False),
        (ClientError(), False, False),
    ],
)
def test_what_may_be_repeated(error, harmless, harmful):
    assert may_repeat(error, Repeat.HARMLESS) is harmless
    assert may_repeat(error, Repeat.HARMFUL) is harmful


def test_a_policy_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(attempts=0)


NO_KEY = {"title": "Encryption key missing", "description": "The operator has to configure it."}


async def test_what_only_the_operator_can_mend_is_asked_for_once(client, server, reply):
    server.answers(reply.says(503, NO_KEY))
    with pytest.raises(Unavailable, match="Encryption key missing") as refused:
        await client.queue("jobs").post(1)
    assert refused.value.final
    assert len(server.seen) == 1


async def test_a_503_that_says_nothing_of_its_own_is_no_last_word(client, server, reply):
    server.answers(reply.says(503), reply.says(503, NO_KEY, headers={"Retry-After": "1"}))
    with pytest.raises(Unavailable) as refused:
        await client.queue("jobs").post(1)
    assert not refused.value.final
    assert len(server.seen) == RetryPolicy().attempts
