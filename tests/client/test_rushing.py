"""``transport="auto"``: few calls go over HTTP, many at once over one WebSocket connection."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.client import Client
from nuska.client.rushing import CALM_AFTER, MANY, TRIED_AGAIN_AFTER
from nuska.testing.raw_http import converse
from nuska.testing.server_process import ServerProcess
from nuska.testing.timing import ManualTiming

METRICS = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    data: Path = tmp_path_factory.mktemp("data")
    with ServerProcess(data) as running:
        yield running


async def counted(server: ServerProcess, name: str) -> float:
    shown = await converse("127.0.0.1", server.port, METRICS)
    lines = shown.answers[0].body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def websockets(server: ServerProcess) -> float:
    """Ever opened."""
    return await counted(server, "nuska_websockets_accepted_total")


async def posts(server: ServerProcess) -> float:
    """Over HTTP."""
    return await counted(server, 'nuska_requests_total{method="POST"')


async def test_calls_one_after_the_other_go_over_http_and_many_at_once_do_not(
    real: ServerProcess,
) -> None:
    before = await websockets(real)
    async with Client(real.url, project="calm", transport="auto") as client:
        jobs = client.queue("jobs")
        for number in range(2 * MANY):
            await jobs.post(number)
        assert await websockets(real) == before
        ids = []
        for _ in range(5):
            ids += await asyncio.gather(*(jobs.post(number) for number in range(100)))
        assert len(set(ids)) == 500
        assert await websockets(real) == before + 1
        assert (await jobs.stats()).total == 500 + 2 * MANY
        bodies = [message.body async for message in jobs.messages(page=20)]
        assert len(bodies) == 500 + 2 * MANY
        taken = 0
        while True:
            async with jobs.claim(limit=20) as claim:
                taken += len(claim)
                if not len(claim):
                    break
                await asyncio.gather(*(message.delete() for message in claim))
        assert taken == 500 + 2 * MANY
        assert await websockets(real) == before + 1


async def test_where_there_is_no_websocket_everything_goes_over_http(server, reply) -> None:
    server.answers(reply.says(201, {"resources": ["/v2/queues/jobs/messages/" + "0" * 32]}))
    timing = ManualTiming(hurry=True)
    async with Client(server.url, project="p", transport="auto", timing=timing.timing) as client:
        jobs = client.queue("jobs")
        for _ in range(3):
            await asyncio.gather(*(jobs.post(number) for number in range(50)))
        assert [seen.method for seen in server.seen].count("POST") == 150
        assert [seen.path for seen in server.seen].count("/v2/websocket") == 1
        timing.now += TRIED_AGAIN_AFTER
        async with asyncio.timeout(20):
            while [seen.path for seen in server.seen].count("/v2/websocket") < 2:
                await asyncio.gather(*(jobs.post(number) for number in range(50)))


async def test_when_the_rush_is_over_calls_go_over_http_again(real: ServerProcess) -> None:
    timing = ManualTiming()
    async with Client(real.url, project="later", transport="auto", timing=timing.timing) as client:
        jobs = client.queue("jobs")

        async def over_http(count: int) -> float:
            before = await posts(real)
            await asyncio.gather(*(jobs.post(number) for number in range(count)))
            return await posts(real) - before

        assert await over_http(50) > 0
        assert await over_http(50) < MANY
        assert await over_http(1) == 0
        await timing.advance(CALM_AFTER + 1)
        assert await over_http(1) == 1
