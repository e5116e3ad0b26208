"""Real servers with pools: moves and drains under load, and nodes that share a catalogue."""

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path

import pytest

from nuska.client import ADMIN, NewMessage
from nuska.client.blocking import BlockingClient
from nuska.client.pools import Carriage
from nuska.testing.kill_clients import PROJECT, QUEUES, TIRED, Clients
from nuska.testing.kill_harness import drain as walk
from nuska.testing.redis_server import RedisServer, redis_server
from nuska.testing.server_process import ServerProcess
from nuska.testing.verdicts import judge

BULK = 10_000
"""Messages of a queue that takes long enough to carry for a kill in the middle."""
PER_POST = 500
RESUMED_WITHIN = 120.0
"""Seconds; the machine may be busy."""
LOOK_EVERY = 0.02
SETTLED = 1.0
"""Seconds of work between two drains."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis") as running:
        yield running


def admin(server: ServerProcess, project: str = PROJECT) -> BlockingClient:
    return BlockingClient(server.url, project=project, headers=ADMIN)


class Drained:
    """One server, clients that work, and pools that are drained under them."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.up = asyncio.Event()
        self.clients = Clients(random.Random(7), lambda: server.port, self.up)

    def fill(self) -> None:
        with admin(self.server) as client:
            for name in set(QUEUES) - {TIRED}:  # that one has a rule, and is prepared by clients
                client.queue(name).create()
            bulk = client.queue("bulk")
            for start in range(0, BULK, PER_POST):
                bulk.post_many([NewMessage(body=n) for n in range(start, start + PER_POST)])

    async def command(self, *arguments: str) -> None:
        """``nuska …``, which has to succeed."""
        words = [*arguments, "--url", self.server.url, "--project", PROJECT]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "nuska", *words, stdout=PIPE, stderr=PIPE
        )
        _, told = await process.communicate()
        assert process.returncode == 0, told.decode()

    async def kill_during_drain(self, pool: str, to: str) -> None:
        """SIGKILL once the drain runs, and a start on the same data."""
        with admin(self.server) as client:
            await asyncio.to_thread(client.pool(pool).drain, to)
            await self._until(client, pool, "running", "done")
        self.up.clear()
        await asyncio.to_thread(self.server.kill)
        await asyncio.to_thread(self.server.start)
        self.up.set()

    async def resumed(self, pool: str) -> bool:
        """Nobody asks for the drain again; it has to come to its end by itself. Whether the
        kill met it in the middle."""
        with admin(self.server) as client:
            first = await asyncio.to_thread(client.pool(pool).drained)
            done = await self._until(client, pool, "done")
        assert (done.queues_left, done.messages_left) == (0, 0)
        return not first.is_over

    async def _until(self, client: BlockingClient, pool: str, *states: str) -> Carriage:
        async with asyncio.timeout(RESUMED_WITHIN):
            while True:
                found = await asyncio.to_thread(client.pool(pool).drained)
                assert found.state != "failed", found
                if found.state in states:
                    return found
                await asyncio.sleep(LOOK_EVERY)

    def bulk(self) -> list[object]:
        with admin(self.server) as client:
            return [message.body for message in client.queue("bulk").messages(page=20)]


@pytest.mark.slow
async def test_drains_between_engines_lose_nothing_though_the_server_is_killed(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with ServerProcess(tmp_path / "node", "--pooling", "--admin-mode") as server:
        work = Drained(server)
        await work.command("pool", "put", "disk", f"sqlite://{tmp_path}/disk.db")
        await asyncio.to_thread(work.fill)
        await work.clients.prepare()
        await work.command("pool", "put", "redis", redis.new_url(), "--weight", "0")
        work.up.set()
        async with asyncio.TaskGroup() as group:
            work.clients.start(group)
            await asyncio.sleep(SETTLED)
            await work.command("pool", "drain", "disk", "--to", "redis")
            await asyncio.sleep(SETTLED)
            await work.kill_during_drain("redis", to="disk")
            resumed = [await work.resumed("redis")]
            await asyncio.sleep(SETTLED)
            await work.kill_during_drain("disk", to="redis")
            resumed.append(await work.resumed("disk"))
            await asyncio.sleep(SETTLED)
            work.clients.stopping = True
        async with work.clients.connect() as client:
            work.clients.history.found = await walk(client)
        report = judge(work.clients.history)
        print(report, f"{work.clients.requests} requests, {work.clients.unavailable} unavailable")
        assert any(resumed), "both kills came too late to say anything"
        assert report.problems == []
        assert (report.lost, report.unexpected) == (0, 0)
        assert report.ok == report.acknowledged > 500, "too little happened to say anything"
        assert await asyncio.to_thread(work.bulk) == list(range(BULK))
        await work.command("pool", "delete", "disk")


@pytest.fixture
def nodes(redis: RedisServer, tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Two nodes on one catalogue, with the pools ``one`` and, for moves only, ``two``."""
    store = redis.new_url()
    arguments = ("--pooling", "--admin-mode")
    with (
        ServerProcess(tmp_path / "a", *arguments, store=store) as a,
        ServerProcess(tmp_path / "b", *arguments, store=store) as b,
    ):
        with admin(a) as client:
            client.pool("one").put(redis.new_url(), weight=1)
            client.pool("two").put(redis.new_url(), weight=0)
        yield [a, b]


def test_what_happens_to_a_queue_at_one_node_is_right_at_the_other_at_once(
    nodes: list[ServerProcess],
) -> None:
    with admin(nodes[0]) as here, admin(nodes[1]) as there:
        jobs, same = here.queue("jobs"), there.queue("jobs")
        assert same.exists() is False
        assert jobs.create({"team": "shop"}) is True
        assert same.metadata()["team"] == "shop"
        jobs.post("a")
        same.post("b")
        assert [message.body for message in same.messages()] == ["a", "b"]
        jobs.move("two")
        _wait_until_moved(here, "jobs")
        same.post("c")
        assert [message.body for message in same.messages()] == ["a", "b", "c"]
        assert [message.body for message in jobs.pop(2)] == ["a", "b"]
        same.move("one")
        _wait_until_moved(there, "jobs")
        assert [message.body for message in jobs.messages()] == ["c"]
        same.delete()
        assert jobs.exists() is False
        assert [entry.name for entry in here.queues()] == []
        jobs.post("new")
        assert [message.body for message in same.messages()] == ["new"]
        assert "team" not in same.metadata()


def _wait_until_moved(client: BlockingClient, queue: str) -> None:
    deadline = time.monotonic() + RESUMED_WITHIN
    while not (moved := client.queue(queue).moved()).is_over:
        assert time.monotonic() < deadline, moved
        time.sleep(LOOK_EVERY)
    assert moved.state == "done", moved
