"""Nodes are killed while twenty subscribers are told: everything acknowledged arrives at everybody
who is healthy, five dead endpoints or not, every delivery is recorded, and nothing is made up."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import cast

import msgspec
import pytest

from nuska.assembly import opened
from nuska.core.deliveries import attempts_since
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.settings import load_settings
from nuska.testing.engines import ENGINES
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient, Unanswered
from nuska.testing.receiver import Receiver, receiver, refusing_port

HEALTHY = 15
DEAD = 5
KILLS = 6
LIFE = (0.8, 2.0)
"""Seconds between two kills."""
ARRIVES_WITHIN = 120.0
PROJECT = "acme"
CLIENT = "3381af92-2b9e-11e3-b191-71861300734c"


class Posters:
    """Post on, at whichever node answers, and remember what was acknowledged."""

    def __init__(self, nodes: NodeGroup) -> None:
        self._nodes = nodes
        self.posted: set[str] = set()
        self.acknowledged: set[str] = set()
        self.stopping = False

    async def run(self, name: str) -> None:
        async with PlainClient(self._nodes.port, project=PROJECT, client_id=CLIENT) as client:
            number = 0
            while not self.stopping:
                await self._nodes.up.wait()
                bodies = [f"{name}-{number + i}" for i in range(3)]
                number += 3
                self.posted.update(bodies)
                document = {"messages": [{"body": body, "ttl": 3600} for body in bodies]}
                try:
                    answer = await client.ask("POST", "/v2/queues/jobs/messages", document)
                except Unanswered:
                    continue
                if answer.status == 201:
                    self.acknowledged.update(bodies)
                await asyncio.sleep(0.02)


async def subscribe(nodes: NodeGroup, subscribers: list[str]) -> dict[str, str]:
    """Ids by subscriber."""
    made = {}
    async with PlainClient(nodes.port, project=PROJECT, client_id=CLIENT) as client:
        for subscriber in subscribers:
            answer = await client.ask(
                "POST", "/v2/queues/jobs/subscriptions", {"subscriber": subscriber, "ttl": 86400}
            )
            assert answer.status == 201, answer
            made[subscriber] = msgspec.json.decode(answer.body)["subscription_id"]
    return made


def told(inbox: Receiver, path: str) -> set[str]:
    return {cast("dict[str, str]", each)["body"] for each in inbox.bodies(path)}


async def kill_again_and_again(nodes: NodeGroup, random: Random) -> None:
    for number in range(KILLS):
        await asyncio.sleep(random.uniform(*LIFE))
        victim = nodes.processes[number % len(nodes.processes)]
        await nodes.kill([victim])
        await nodes.start(victim)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["sqlite", "redis"])
async def test_everything_acknowledged_arrives_at_everybody_although_nodes_are_killed(
    tmp_path: Path, engine: str
) -> None:
    random = Random(11)
    with ExitStack() as stack:
        url = "sqlite:"
        if engine != "sqlite":
            url = stack.enter_context(ENGINES[engine](tmp_path)).url
        dead = [f"http://127.0.0.1:{stack.enter_context(refusing_port())}/" for _ in range(DEAD)]
        async with (
            receiver() as inbox,
            NodeGroup(tmp_path, 1 if engine == "sqlite" else 2, url, random) as nodes,
        ):
            paths = [f"/ok?{n}" for n in range(HEALTHY)]
            subscriptions = await subscribe(nodes, [*map(inbox.url, paths), *dead])
            posters = Posters(nodes)
            async with asyncio.TaskGroup() as group:
                for name in "ab":
                    group.create_task(posters.run(name))
                await kill_again_and_again(nodes, random)
                posters.stopping = True
            async with asyncio.timeout(ARRIVES_WITHIN):
                while any(posters.acknowledged - told(inbox, path) for path in paths):
                    await inbox.wait_for(inbox.count + 1, within=ARRIVES_WITHIN)
            for path in paths:
                assert told(inbox, path) <= posters.posted
            for process in list(nodes.processes):
                assert await nodes.stop(process) == 0
            data = nodes.processes[0].data
        assert len(posters.acknowledged) > 30
        healthy = [subscriptions[inbox.url(path)] for path in paths]
        recorded = await recorded_deliveries(url, data, healthy)
        assert all(count >= len(posters.acknowledged) for count in recorded)
        assert all(await recorded_deliveries(url, data, [subscriptions[d] for d in dead], ok=False))


async def recorded_deliveries(
    url: str, data: Path, subscriptions: list[str], *, ok: bool = True
) -> list[int]:
    """How many messages have an attempt recorded that went well, or did not."""
    found = []
    async with opened(load_settings(flags={"store": url}), data) as backend:
        for each in subscriptions:
            attempts = await attempts_since(
                backend.store.messages,
                QueueRef(PROJECT, "jobs"),
                each,
                since=Moment(0),
                limit=1_000_000,
                now=backend.core.clock.now(),
            )
            found.append(len({a.message for a in attempts.attempts if a.ok == ok}))
    return found
