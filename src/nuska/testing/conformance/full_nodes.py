"""Quotas that several nodes keep together, as sentences that every shared store keeps.

Real ``nuska serve`` processes and clients side by side. A driver's test module subclasses this and
provides ``url``, of a store on an engine that stays.
"""

import asyncio
import uuid
from pathlib import Path
from random import Random

import msgspec
import pytest

from nuska.domain.allowances import SHARES
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient
from nuska.testing.server_process import ServerProcess

NODES = 2
CLIENTS_EACH = 4
LIMIT = 400
QUEUES = 5
SEED = 17
ROOM_WITHIN = 20.0
"""Seconds; a second is promised."""
LOOK_EVERY = 0.05
POST = {"messages": [{"body": "counted"}]}
POPPED = 20


class FullNodesConformance:
    @pytest.mark.slow
    async def test_clients_of_several_nodes_fill_a_quota_and_little_more(
        self, tmp_path: Path, url: str
    ) -> None:
        project = f"project-{uuid.uuid4().hex}"
        environment = {"NUSKA_QUOTA_MESSAGES": str(LIMIT), "NUSKA_QUOTA_QUEUES": str(QUEUES)}
        async with NodeGroup(tmp_path, NODES, url, Random(SEED), [environment]) as nodes:

            def client(process: ServerProcess) -> PlainClient:
                return PlainClient(process.port, project=project, client_id=str(uuid.uuid4()))

            async def fill(process: ServerProcess, number: int) -> int:
                """Post until that is refused; how many were taken."""
                taken, target = 0, f"/v2/queues/q{number % QUEUES}/messages"
                async with client(process) as poster:
                    while (answer := await poster.ask("POST", target, POST)).status == 201:
                        taken += 1
                assert answer.status == 403
                assert b"messages is limited to" in answer.body
                return taken

            clients = [
                fill(process, number)
                for number in range(CLIENTS_EACH)
                for process in nodes.processes
            ]
            taken = sum(await asyncio.gather(*clients))
            assert LIMIT <= taken <= LIMIT + (NODES - 1) * LIMIT // SHARES
            first, second = nodes.processes
            async with client(first) as worker, client(second) as poster:
                assert await _stored(worker) == taken
                popped = await worker.ask("DELETE", f"/v2/queues/q0/messages?pop={POPPED}")
                assert popped.status == 200
                async with asyncio.timeout(ROOM_WITHIN):
                    while not await _is_taken(poster):  # noqa: ASYNC110  # nobody tells
                        await asyncio.sleep(LOOK_EVERY)


async def _is_taken(client: PlainClient) -> bool:
    return (await client.ask("POST", "/v2/queues/q0/messages", POST)).status == 201


async def _stored(client: PlainClient) -> int:
    total = 0
    for number in range(QUEUES):
        answer = await client.ask("GET", f"/v2/queues/q{number}/stats")
        total += int(msgspec.json.decode(answer.body)["messages"]["total"])
    return total
