"""What several nodes on one store promise about how fast projects go, on every shared store."""

import asyncio
import time
import uuid
from pathlib import Path
from random import Random

import msgspec
import pytest

from nuska.core.rate_shares import LEAST
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient

NODES = 2
CLIENTS = 4
"""At each node."""
REQUESTS = 60
MESSAGES = 100
BATCH = 5
FOR = 4.0
"""Seconds for which all of them ask as fast as they are let."""
PAUSE = 0.01
"""Seconds after a refusal: clients that do not listen."""
KNOWN_WITHIN = 20.0
"""Seconds; it takes two, and machines that test do many things at once."""
LOOK_EVERY = 0.1
SERVED = 0.6
"""Of the rate that must have been let in at least, on a machine that does other things, too."""


class LimitedNodesConformance:
    @pytest.mark.slow
    async def test_parallel_clients_at_several_nodes_are_held_to_their_projects_rates(
        self, tmp_path: Path, url: str
    ) -> None:
        """In t seconds t + 1 times the limit, and for each node a fifth of it when it begins."""
        limits = {
            "NUSKA_QUOTA_REQUESTS_PER_SECOND": str(REQUESTS),
            "NUSKA_QUOTA_MESSAGES_PER_SECOND": str(MESSAGES),
        }
        async with NodeGroup(tmp_path, NODES, url, Random(1), [limits]) as nodes:
            ports = [process.port for process in nodes.processes] * CLIENTS
            reader, writer = (f"project-{uuid.uuid4().hex}" for _ in range(2))
            reads, posts = _Load(reader), _Load(writer)
            await asyncio.gather(
                *(reads.run(port, "GET", "/v2/queues", None) for port in ports),
                *(posts.run(port, "POST", "/v2/queues/jobs/messages", _batch()) for port in ports),
            )
            reads.check("requests_per_second", REQUESTS, 1)
            posts.check("messages_per_second", MESSAGES, BATCH)
            async with PlainClient(ports[0], project=writer, client_id=str(uuid.uuid4())) as seer:
                await asyncio.sleep(1.5)
                page = await seer.ask("GET", "/v2/queues/jobs/stats")
                total = f'"total": {posts.passed * BATCH}'.encode()
                assert total in page.body, "a refused batch is not stored, an accepted one is"

    async def test_what_one_node_is_told_about_a_project_holds_at_the_others_within_seconds(
        self, tmp_path: Path, url: str
    ) -> None:
        project = f"project-{uuid.uuid4().hex}"
        operators = {"NUSKA_ADMIN_MODE": "true"}

        def client_of(port: int) -> PlainClient:
            return PlainClient(port, project=project, client_id=str(uuid.uuid4()))

        async with NodeGroup(tmp_path, NODES, url, Random(1), [operators]) as nodes:
            one, other = (client_of(process.port) for process in nodes.processes)
            async with one, other:
                target = f"/v2/quotas/{project}"
                said = {"requests_per_second": REQUESTS, "connections": None}
                assert (await one.ask("PUT", target, said, X_Roles="admin")).status == 200
                await _shows(other, target, said)
                assert (await other.ask("DELETE", target, X_Roles="admin")).status == 204
                await _shows(one, target, {})


async def _shows(client: PlainClient, target: str, overrides: dict[str, int | None]) -> None:
    """Until this is what was said about the project."""
    async with asyncio.timeout(KNOWN_WITHIN):
        while True:
            shown = msgspec.json.decode((await client.ask("GET", target)).body)
            if shown["overrides"] == overrides:
                return
            await asyncio.sleep(LOOK_EVERY)


def _batch() -> dict[str, object]:
    return {"messages": [{"body": number} for number in range(BATCH)]}


class _Load:
    """Clients of one project, who count what becomes of what they ask."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._began = time.monotonic()
        self._ended = self._began
        self.passed = 0
        self._refused: list[bytes] = []

    async def run(self, port: int, method: str, target: str, document: object) -> None:
        client = PlainClient(port, project=self._project, client_id=str(uuid.uuid4()))
        async with client:
            while time.monotonic() < self._began + FOR:
                answer = await client.ask(method, target, document)
                if answer.status in (200, 201):
                    self.passed += 1
                else:
                    assert answer.status == 503, answer
                    assert int(answer.headers["retry-after"]) >= 1
                    self._refused.append(answer.body)
                    await asyncio.sleep(PAUSE)
        self._ended = max(self._ended, time.monotonic())

    def check(self, name: str, limit: int, size: int) -> None:
        """However much a machine gets done: who asks for more than the limit is refused the rest;
        who asks for less has it all."""
        seconds, passed = self._ended - self._began, self.passed * size
        assert not self._refused or any(name.encode() in body for body in self._refused)
        asked = passed + len(self._refused) * size
        most = limit * (seconds + 1) + NODES * 2 * LEAST * limit
        least = min(limit * seconds, asked) * SERVED
        assert least <= passed <= most, (name, passed, asked, seconds)
