"""Nodes on machines that disagree about the time by minutes live on one timeline, the store's.

Real ``nuska serve`` processes, whose wall clock libfaketime moves. A driver's test module
subclasses this and provides the fixture ``url``, of a store on a real engine.
"""

import asyncio
import time
import uuid
from email.utils import parsedate_to_datetime
from pathlib import Path
from random import Random

import msgspec
import pytest

from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient
from nuska.testing.server_process import ServerProcess
from nuska.testing.wrong_clocks import wrong_by

SKEWS = (7 * 60, -5 * 60)
"""Seconds by which the two clocks are wrong."""
TTL = 60
"""Seconds, the shortest there is, of claims and of messages."""
DELAY = 2
I5_BOUND = 1.0
"""Seconds in which the messages of an ended claim can be claimed."""
SLACK = 1.0
"""Seconds for the requests themselves, on a machine that does other things too."""
POLL = 20


class SkewedNodesConformance:
    @pytest.mark.slow
    async def test_nodes_whose_clocks_are_minutes_apart_live_on_one_timeline(
        self, tmp_path: Path, url: str
    ) -> None:
        await live_on_one_timeline(tmp_path, url)


async def live_on_one_timeline(directory: Path, url: str) -> None:
    """One claim at a time (I2), whose messages come back when it ends (I5), nothing before
    its delay is over and nothing after its ttl (I9), whichever node is asked."""
    environments = [wrong_by(seconds) for seconds in SKEWS]
    async with NodeGroup(directory, len(SKEWS), url, Random(1), environments) as nodes:
        ahead, behind = (_Node(process) for process in nodes.processes)
        assert await ahead.clock() - await behind.clock() > max(SKEWS)
        await asyncio.gather(
            _leases_hold(ahead, behind),
            _leases_hold(behind, ahead),
            _delays_hold(ahead, behind),
            _delays_hold(behind, ahead),
            _messages_end(ahead, behind),
            _messages_end(behind, ahead),
        )


class _Node:
    """What the test asks one of the nodes, each time on a connection of its own."""

    def __init__(self, process: ServerProcess) -> None:
        self._port = process.port

    def _client(self) -> PlainClient:
        return PlainClient(self._port, project="skewed", client_id=str(uuid.uuid4()))

    async def clock(self) -> float:
        """What the machine's clock says, in seconds since the epoch."""
        async with self._client() as client:
            answer = await client.ask("GET", "/v2/ping")
        return parsedate_to_datetime(answer.headers["date"]).timestamp()

    async def create(self, queue: str, metadata: dict[str, int]) -> None:
        async with self._client() as client:
            assert (await client.ask("PUT", f"/v2/queues/{queue}", metadata)).status == 201

    async def post(self, queue: str, **message: int) -> None:
        document = {"messages": [{"body": 1, **message}]}
        async with self._client() as client:
            answer = await client.ask("POST", f"/v2/queues/{queue}/messages", document)
        assert answer.status == 201, answer

    async def claim(self, queue: str, wait: int = 0) -> int:
        """How many messages it was given."""
        target = f"/v2/queues/{queue}/claims?wait={wait}"
        async with self._client() as client:
            answer = await client.ask("POST", target, {"ttl": TTL, "grace": TTL})
        return len(msgspec.json.decode(answer.body)["messages"]) if answer.status == 201 else 0

    async def ages(self, queue: str) -> list[int]:
        async with self._client() as client:
            answer = await client.ask("GET", f"/v2/queues/{queue}/messages?echo=true")
        return [message["age"] for message in msgspec.json.decode(answer.body)["messages"]]


async def _leases_hold(one: _Node, other: _Node) -> None:
    queue = f"leases-{uuid.uuid4().hex}"
    await one.post(queue)
    began = time.monotonic()
    assert await one.claim(queue) == 1
    assert await other.claim(queue) + await one.claim(queue) == 0
    while not await other.claim(queue, POLL):
        assert time.monotonic() < began + TTL + I5_BOUND + SLACK
    waited = time.monotonic() - began
    assert TTL <= waited < TTL + I5_BOUND + SLACK


async def _delays_hold(one: _Node, other: _Node) -> None:
    queue = f"delays-{uuid.uuid4().hex}"
    await one.create(queue, {"_default_message_delay": 1})
    began = time.monotonic()
    await one.post(queue, delay=DELAY)
    assert await other.claim(queue) + await one.claim(queue) == 0
    assert await other.claim(queue, POLL) == 1
    assert DELAY <= time.monotonic() - began < DELAY + I5_BOUND + SLACK


async def _messages_end(one: _Node, other: _Node) -> None:
    queue = f"ends-{uuid.uuid4().hex}"
    await one.post(queue, ttl=TTL)
    for node in (one, other):
        [age] = await node.ages(queue)
        assert age <= SLACK + 1
    await asyncio.sleep(TTL + SLACK)
    for node in (one, other):
        assert await node.ages(queue) == []
