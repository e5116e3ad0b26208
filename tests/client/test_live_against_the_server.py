"""Live subscriptions and the WebSocket transport against the real server, which goes away."""

import asyncio
import threading
import uuid
from collections.abc import Iterator

import pytest

from nuska.client import BadRequest, Client, NewMessage, RetryPolicy, Worker
from nuska.client.blocking import BlockingClient
from nuska.testing.server_process import ServerProcess

LIMIT = 120.0
"""Seconds for one test; it is for a machine that is busy."""

PATIENT = RetryPolicy(attempts=100)
"""Of who posts while the server is away."""


@pytest.fixture
def server(tmp_path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data") as running:
        yield running


@pytest.fixture
def project() -> str:
    return f"project-{uuid.uuid4().hex}"


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_through_stops_and_crashes_every_message_comes_once_and_in_order(
    server: ServerProcess, project: str, transport
) -> None:
    async with (
        asyncio.timeout(LIMIT),
        Client(server.url, project=project) as listener,
        Client(
            server.url, project=project, transport=transport, timeout=60, retry=PATIENT
        ) as poster,
        listener.subscribe("news", on_gap=lambda gap: pytest.fail(f"{gap}")) as news,
    ):
        queue = poster.queue("news")
        posted = 0
        for end in (server.terminate, server.kill, server.terminate):
            for _ in range(5):
                await queue.post(posted)
                posted += 1
            under_way = asyncio.create_task(queue.post(posted))
            posted += 1
            await asyncio.to_thread(end)
            await asyncio.to_thread(server.start)
            await under_way
            bodies = [(await anext(news)).body for _ in range(6)]
            assert bodies == list(range(posted - 6, posted))
        await queue.post("last")
        assert (await anext(news)).body == "last"


async def test_another_process_goes_on_where_one_ended(server: ServerProcess, project: str) -> None:
    async with asyncio.timeout(LIMIT), Client(server.url, project=project) as client:
        async with client.subscribe("a", "b") as first:
            await client.queue("a").post(1)
            await client.queue("b").post(2)
            assert {(await anext(first)).body for _ in range(2)} == {1, 2}
            markers = first.markers
        await client.queue("a").post(3)
        await client.queue("b").post(4)
        async with client.subscribe("a", "b", since=markers) as second:
            assert {(await anext(second)).body for _ in range(2)} == {3, 4}


async def test_a_message_that_is_taken_away_is_seen_all_the_same(
    server: ServerProcess, project: str
) -> None:
    async with asyncio.timeout(LIMIT), Client(server.url, project=project) as client:
        jobs = client.queue("jobs")
        async with client.subscribe("jobs") as seen:
            await jobs.post("work", attributes={"kind": "test"})
            assert [message.body for message in await jobs.pop(wait=10)] == ["work"]
            message = await anext(seen)
            assert (message.queue, message.body) == ("jobs", "work")
            assert message.attributes == {"kind": "test"}


async def test_what_does_not_fit_the_filter_is_not_seen(
    server: ServerProcess, project: str
) -> None:
    wanted = {"body": {"state": ["failed"]}}
    async with asyncio.timeout(LIMIT), Client(server.url, project=project) as client:
        async with client.subscribe("jobs", filter=wanted) as failures:
            for number, state in enumerate(["ok", "failed", "ok", "failed"]):
                await client.queue("jobs").post({"state": state, "number": number})
            assert [(await anext(failures)).body["number"] for _ in range(2)] == [1, 3]
        with pytest.raises(BadRequest):
            await anext(client.subscribe("jobs", filter={"body": {"state": "no list"}}))


async def test_a_topic_is_listened_to_across_a_restart(server: ServerProcess, project: str) -> None:
    async with Client(server.url, project=project, retry=PATIENT) as client:
        with pytest.raises(ValueError, match="queues or of a topic"):
            client.subscribe("jobs", topic="news")
        async with asyncio.timeout(LIMIT), client.subscribe(topic="news") as live:
            await client.topic("news").publish(1)
            assert (await anext(live)).queue == "news"
            server.kill()
            server.start()
            await client.topic("news").publish(2)
            await client.queue("news").post("of the queue")
            await client.topic("news").publish(3)
            assert [(await anext(live)).body for _ in range(2)] == [2, 3]


async def test_a_fresh_subscription_has_no_gap(server: ServerProcess, project: str) -> None:
    async with asyncio.timeout(LIMIT), Client(server.url, project=project) as client:
        await client.queue("jobs").post("before")
        for queue in ("jobs", "new"):
            async with client.subscribe(queue) as live:
                await client.queue(queue).post("now")
                assert (await anext(live)).body == "now"
                assert live.gaps == 0


async def test_a_slow_listener_misses_nothing(server: ServerProcess, project: str) -> None:
    """More than the server keeps for a connection and the sockets in between can hold."""
    body, count = "x" * 100_000, 300
    async with (
        asyncio.timeout(LIMIT),
        Client(server.url, project=project) as client,
        client.subscribe("news") as news,
    ):
        for number in range(count):
            await client.queue("news").post({"number": number, "text": body})
        seen = [(await anext(news)).body["number"] for _ in range(count)]
    assert seen == list(range(count))


async def test_a_worker_works_over_websocket(server: ServerProcess, project: str) -> None:
    done = []

    async def handle(message) -> None:
        done.append(message.body)

    async with (
        asyncio.timeout(LIMIT),
        Client(server.url, project=project, transport="websocket") as client,
    ):
        jobs = client.queue("jobs")
        async for _ in jobs.post_in_batches(NewMessage(body=number) for number in range(150)):
            pass
        report = await Worker(jobs, handle, jobs=10, until_empty=True).run()
        assert report.done == 150
        assert sorted(done) == list(range(150))
        assert (await jobs.stats()).total == 0


def test_a_program_without_an_event_loop_listens_too(server: ServerProcess, project: str) -> None:
    with BlockingClient(server.url, project=project, transport="websocket") as client:
        with client.subscribe("news") as news:
            client.queue("news").post("one")
            client.queue("news").post("two")
            assert [next(news).body for _ in range(2)] == ["one", "two"]
            assert news.markers.keys() == {"news"}
        ended = client.subscribe("news")
        with ended:
            threading.Timer(0.1, ended.close).start()
            assert list(ended) == []
