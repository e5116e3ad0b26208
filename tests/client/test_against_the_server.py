"""Every call of the client, against the real server, on both of its stores and both ways."""

import asyncio
import socket
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from nuska.client import (
    BadRequest,
    CannotConnect,
    Claim,
    ClaimLost,
    Client,
    Conflict,
    Message,
    NewMessage,
    NotAllowed,
    NotFound,
    Queue,
    RetryPolicy,
)
from nuska.testing.server_process import ServerProcess

SEVEN_DEFAULTS = {
    "_max_messages_post_size": 262_144,
    "_default_message_ttl": 3600,
    "_default_message_delay": 0,
    "_dead_letter_queue": None,
    "_dead_letter_queue_messages_ttl": None,
    "_max_claim_count": None,
    "_enable_encrypt_messages": False,
}


@pytest.fixture(scope="module", params=["memory:", "sqlite:"])
def nuska(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("data"), store=request.param) as running:
        yield running


@pytest.fixture(params=["http", "websocket"])
async def client(request: pytest.FixtureRequest, nuska: ServerProcess) -> AsyncIterator[Client]:
    project = f"project-{uuid.uuid4().hex}"
    async with Client(nuska.url, project=project, transport=request.param) as client:
        yield client


@pytest.fixture
def jobs(client: Client) -> Queue:
    return client.queue("jobs")


async def bodies(listing: AsyncIterator[Message]) -> list[object]:
    return [message.body async for message in listing]


async def test_the_server_answers(client):
    await client.ping()


async def test_a_queue_is_created_once(jobs):
    assert await jobs.create({"team": "shop"}) is True
    assert await jobs.create({"team": "other"}) is False
    assert await jobs.metadata() == {**SEVEN_DEFAULTS, "team": "shop"}


async def test_metadata_change_key_by_key(jobs):
    await jobs.create({"a": 1, "b": 2})
    changed = await jobs.update({"a": [3], "_max_claim_count": 4}, remove=["b"])
    assert changed == await jobs.metadata()
    assert changed == {**SEVEN_DEFAULTS, "a": [3], "_max_claim_count": 4}


async def test_a_change_that_cannot_be_made_whole_is_not_made(jobs):
    await jobs.create({"a": 1})
    with pytest.raises(Conflict):
        await jobs.update({"a": 2}, remove=["never set"])
    assert (await jobs.metadata())["a"] == 1


async def test_the_metadata_of_a_missing_queue_cannot_be_changed(jobs):
    with pytest.raises(NotFound):
        await jobs.update({"a": 1})


async def test_queues_are_listed_over_as_many_pages_as_it_takes(client):
    names = [f"queue-{number:02}" for number in range(25)]
    for name in names:
        await client.queue(name).create({"odd": int(name[-2:]) % 2})
    assert [entry.name async for entry in client.queues(page=7)] == names
    assert [entry.name async for entry in client.queues(marker="queue-22")] == names[23:]
    assert [entry.name async for entry in client.queues(name="-1")] == names[10:20]
    odd = [entry async for entry in client.queues(metadata={"odd": 1}, detailed=True, page=5)]
    assert [entry.name for entry in odd] == names[1::2]
    assert odd[0].metadata == {**SEVEN_DEFAULTS, "odd": 1}
    assert await client.count_queues() == 25


async def test_messages_come_back_as_they_were_posted(jobs):
    posted = [None, 17, "text \u2603", {"deep": [1.5, {"x": None}]}, [], False]
    ids = await jobs.post_many([NewMessage(body=body, ttl=600) for body in posted])
    listed = [message async for message in jobs.messages(page=4)]
    assert [message.id for message in listed] == ids
    assert [message.body for message in listed] == posted
    assert {message.ttl for message in listed} == {600}


async def test_a_listing_leaves_out_what_its_own_client_posted_if_asked_to(client, nuska, jobs):
    await jobs.post("mine")
    async with Client(nuska.url, project=client.project) as other:
        await other.queue("jobs").post("another's")
    assert await bodies(jobs.messages()) == ["mine", "another's"]
    assert await bodies(jobs.messages(echo=False)) == ["another's"]


async def test_a_listing_can_go_on_after_any_message(jobs):
    ids = await jobs.post_many([NewMessage(body=number) for number in range(5)])
    assert await bodies(jobs.messages(marker=ids[2])) == [3, 4]


async def test_claimed_and_delayed_messages_are_listed_on_request(jobs):
    await jobs.create({"_default_message_delay": 600})
    await jobs.post_many([NewMessage(body="now", delay=0), NewMessage(body="later")])
    await jobs.create_claim()
    assert await bodies(jobs.messages()) == []
    assert await bodies(jobs.messages(include_claimed=True)) == ["now"]
    assert await bodies(jobs.messages(include_delayed=True)) == ["later"]


async def test_a_message_is_found_by_its_id_until_it_is_deleted(jobs):
    message_id = await jobs.post({"job": 17})
    assert (await jobs.message(message_id)).body == {"job": 17}
    await jobs.delete_message(message_id)
    await jobs.delete_message(message_id)
    with pytest.raises(NotFound):
        await jobs.message(message_id)


async def test_attributes_are_shown_to_who_asks(jobs):
    message_id = await jobs.post("Hello", attributes={"lang": "en"})
    assert (await jobs.message(message_id)).attributes is None
    assert (await jobs.message(message_id, attributes=True)).attributes == {"lang": "en"}
    assert [m.attributes async for m in jobs.messages(attributes=True)] == [{"lang": "en"}]
    async with jobs.claim(attributes=True) as claim:
        assert [message.attributes for message in claim] == [{"lang": "en"}]
    assert (await jobs.pop(attributes=True))[0].attributes == {"lang": "en"}


async def test_many_messages_are_deleted_in_as_many_calls_as_it_takes(jobs):
    ids = await jobs.post_many([NewMessage(body=number) for number in range(50)])
    await jobs.delete_messages(ids[:45])
    assert (await jobs.stats()).total == 5


async def test_a_pop_takes_messages_for_good(jobs):
    await jobs.post_many([NewMessage(body=number) for number in range(3)])
    popped = await jobs.pop(2)
    assert [(message.body, message.claim_count) for message in popped] == [(0, 0), (1, 0)]
    assert await bodies(jobs.messages()) == [2]
    await jobs.purge()
    assert await jobs.pop() == []


async def test_statistics_count_and_name_the_oldest_and_newest(jobs):
    assert (await jobs.stats()).oldest is None
    ids = await jobs.post_many([NewMessage(body=number) for number in range(3)])
    await jobs.create_claim(limit=1)
    stats = await jobs.stats()
    assert (stats.free, stats.claimed, stats.total) == (2, 1, 3)
    assert (stats.oldest.id, stats.newest.id) == (ids[0], ids[2])


async def test_a_queue_can_be_emptied_and_deleted(client, jobs):
    await jobs.create({"a": 1})
    await jobs.post(1)
    await jobs.purge()
    assert (await jobs.stats()).total == 0
    assert (await jobs.metadata())["a"] == 1
    await jobs.delete()
    assert await client.queues().all() == []


async def test_the_life_of_a_claim(jobs):
    await jobs.post_many([NewMessage(body=number) for number in range(3)])
    claim = await jobs.create_claim(limit=2, ttl=120, grace=60)
    assert isinstance(claim, Claim)
    assert [message.body for message in claim.messages] == [0, 1]
    assert {message.claim_id for message in claim.messages} == {claim.id}
    await jobs.renew_claim(claim.id, ttl=600)
    with pytest.raises(NotAllowed):
        await jobs.delete_message(claim.messages[0].id)
    await jobs.delete_message(claim.messages[0].id, claim_id=claim.id)
    shown = await jobs.show_claim(claim.id)
    assert (shown.ttl, [message.body for message in shown.messages]) == (600, [1])
    await jobs.release_claim(claim.id)
    await jobs.release_claim(claim.id)
    with pytest.raises(NotFound):
        await jobs.show_claim(claim.id)
    assert await bodies(jobs.messages()) == [1, 2]


async def test_a_claim_of_nothing_is_none(jobs):
    assert await jobs.create_claim() is None


async def test_a_held_claim_gives_back_what_was_not_deleted(jobs):
    await jobs.post_many([NewMessage(body=number) for number in range(3)])
    async with jobs.claim(limit=3, ttl=60) as claim:
        first, *_ = claim
        await first.delete()
        assert (await jobs.stats()).claimed == 2
    assert await bodies(jobs.messages()) == [1, 2]


async def test_a_released_claim_is_noticed_at_the_next_delete(jobs):
    await jobs.post(1)
    async with jobs.claim() as claim:
        await jobs.release_claim(claim.id)
        with pytest.raises(ClaimLost):
            await next(iter(claim)).delete()


async def test_all_of_a_claim_can_be_deleted_at_once(jobs):
    await jobs.post_many([NewMessage(body=number) for number in range(12)])
    async with jobs.claim(limit=12) as claim:
        await claim.delete_all()
    assert (await jobs.stats()).total == 0


@pytest.mark.parametrize("how", ["claim", "pop", "list"])
async def test_a_wait_ends_with_the_message_it_waits_for(jobs, how):
    async def wait():
        match how:
            case "claim":
                return (await jobs.create_claim(wait=20)).messages
            case "pop":
                return await jobs.pop(wait=20)
            case _:
                return [await anext(aiter(jobs.messages(wait=20)))]

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0.05)  # most likely it waits by now; true either way
    await jobs.post("at last")
    assert [message.body for message in await waiting] == ["at last"]


async def test_a_refusal_says_what_is_wrong(jobs):
    with pytest.raises(BadRequest, match="ttl") as refused:
        await jobs.post(1, ttl=1)
    assert refused.value.title == "Invalid API request"


async def test_a_refusal_over_http_names_the_request(nuska):
    async with Client(nuska.url, project="shop") as client:
        with pytest.raises(BadRequest) as refused:
            await client.queue("jobs").post(1, ttl=1)
    assert refused.value.request_id.startswith("req-")


async def test_batches_fit_the_size_that_the_queue_takes(jobs):
    await jobs.create({"_max_messages_post_size": 2000})
    messages = [NewMessage(body="x" * 150) for _ in range(60)]
    batches = [ids async for ids in jobs.post_in_batches(messages)]
    assert sum(map(len, batches)) == (await jobs.stats()).total == 60
    assert 2 <= len(batches) < 10


async def test_a_server_behind_a_unix_socket_is_reached(tmp_path):
    path = tmp_path / "nuska.sock"
    with ServerProcess(tmp_path / "data", store="memory:", listen=f"unix:{path}") as running:
        assert running.url == f"unix:{path}"
        async with Client(running.url, project="shop") as client:
            await client.queue("jobs").post(1)
            assert (await client.queue("jobs").stats()).total == 1


async def test_a_server_that_restarts_interrupts_no_producer(tmp_path):
    with ServerProcess(tmp_path) as running:
        patient = RetryPolicy(attempts=1000, longest=0.1)
        async with Client(running.url, project="shop", retry=patient) as client:
            queue = client.queue("jobs")
            posted = [await queue.post(0)]
            running.kill()
            posting = asyncio.create_task(queue.post(1))
            await asyncio.to_thread(running.start)
            posted.append(await posting)
            assert [message.id async for message in queue.messages()] == posted


async def test_calls_at_once_share_a_client(jobs):
    ids = await asyncio.gather(*(jobs.post(number) for number in range(200)))
    assert len(set(ids)) == 200
    assert sorted(await bodies(jobs.messages(page=20))) == list(range(200))


async def test_nobody_listens_there(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}", f"unix:{tmp_path}/none"):
        async with Client(url, project="shop", retry=RetryPolicy(attempts=1)) as client:
            with pytest.raises(CannotConnect):
                await client.ping()
