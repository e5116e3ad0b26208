"""What several nodes on one store promise together, as sentences that every shared store keeps.

Real ``nuska serve`` processes on a real engine. A driver's test module subclasses these and
provides two fixtures: ``engine_name``, a name of ``nuska.testing.engines``, for the kills, and
``url``, of a store on an engine that stays, for the rest.
"""

import asyncio
import uuid
from pathlib import Path
from random import Random

import msgspec
import pytest

from nuska.testing.kill_clients import Clients
from nuska.testing.kill_harness import drain, kill_and_judge
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient, Unanswered
from nuska.testing.raw_http import Answer
from nuska.testing.server_process import ServerProcess
from nuska.testing.verdicts import judge

NODES = 3
KILLS = 8
SEED = 11
"""By which these kills are of every kind: of one node, of all, of one that starts, of the store."""
POLL = 30
"""Seconds that a long poll is willing to wait."""
SOON = 20.0
REQUESTS = 200
"""Between two steps of a rolling restart."""
WORKED_WITHIN = 120.0
"""Seconds; generous, since every one is synced, and machines that test do many things at once."""
LOOK_EVERY = 0.05


class NodesConformance:
    @pytest.mark.slow
    async def test_killed_nodes_and_a_killed_store_lose_nothing(
        self, tmp_path: Path, engine_name: str
    ) -> None:
        outcome = await kill_and_judge(tmp_path, kills=KILLS, seed=SEED, store=engine_name)
        print(outcome)  # noqa: T201  # shown when it fails
        assert outcome.report.problems == []
        assert (outcome.report.lost, outcome.report.unexpected) == (0, 0)
        assert outcome.report.ok == outcome.report.acknowledged > 20 * KILLS
        assert outcome.engine_kills > 0
        assert outcome.nodes == NODES

    @pytest.mark.slow
    async def test_a_rolling_restart_under_load_loses_nothing_and_refuses_nothing(
        self, tmp_path: Path, url: str
    ) -> None:
        """Clients whose connection is closed go on at another node."""
        async with NodeGroup(tmp_path, NODES, url, Random(SEED)) as nodes:
            clients = Clients(Random(SEED), nodes.port, nodes.up)
            await clients.prepare()
            async with asyncio.TaskGroup() as group:
                clients.start(group)
                for process in nodes.processes:
                    await self._work_on(clients)
                    assert await nodes.stop(process) == 0
                    await self._work_on(clients)
                    await nodes.start(process)
                clients.stopping = True
            async with clients.connect() as client:
                clients.history.found = await drain(client)
        report = judge(clients.history)
        print(report)  # noqa: T201  # shown when it fails
        assert report.problems == []
        assert clients.unavailable == 0
        assert report.ok == report.acknowledged > 0

    async def _work_on(self, clients: Clients) -> None:
        """Until some more has happened."""
        goal = clients.requests + REQUESTS
        async with asyncio.timeout(WORKED_WITHIN):
            while clients.requests < goal:  # noqa: ASYNC110  # the clients only count
                await asyncio.sleep(LOOK_EVERY)

    async def test_a_stopping_node_answers_its_long_polls_and_posts_elsewhere_wake_the_others(
        self, tmp_path: Path, url: str
    ) -> None:
        project = f"project-{uuid.uuid4().hex}"

        def client_of(process: ServerProcess) -> PlainClient:
            return PlainClient(process.port, project=project, client_id=str(uuid.uuid4()))

        async def poll(process: ServerProcess) -> Answer:
            async with client_of(process) as client:
                return await client.ask("POST", f"/v2/queues/jobs/claims?wait={POLL}", {})

        async with NodeGroup(tmp_path, 2, url, Random(SEED)) as nodes:
            leaving, staying = nodes.processes
            polls = [asyncio.create_task(poll(process)) for process in nodes.processes]
            for process in nodes.processes:
                await self._waits(process)
            async with asyncio.timeout(SOON):
                assert await nodes.stop(leaving) == 0
                assert (await polls[0]).status == 204
                await nodes.start(leaving)
                async with client_of(leaving) as poster:
                    posted = await poster.ask(
                        "POST", "/v2/queues/jobs/messages", {"messages": [{"body": "woken"}]}
                    )
                    assert posted.status == 201
                claimed = await polls[1]
            assert staying.running
            [message] = msgspec.json.decode(claimed.body)["messages"]
            assert message["body"] == "woken"

    async def _waits(self, process: ServerProcess) -> None:
        """Until a long poll waits there."""
        async with PlainClient(process.port, project="-", client_id="-") as client:
            async with asyncio.timeout(SOON):
                while True:
                    try:
                        if b"nuska_waiters 1.0" in (await client.ask("GET", "/metrics")).body:
                            return
                    except Unanswered:
                        pass
                    await asyncio.sleep(LOOK_EVERY)
