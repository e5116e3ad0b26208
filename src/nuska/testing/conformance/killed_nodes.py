"""Nodes are killed while twenty subscribers are told: everything acknowledged arrives at everybody
who is healthy, five dead endpoints or not, every delivery is recorded, and nothing is made up."""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from random import Random

import msgspec
import pytest

from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient, Unanswered
from nuska.testing.receiver import Receiver, receiver, refusing_port

HEALTHY = 15
DEAD = 5
KILLS = 4
LIFE = (0.8, 2.0)
"""Seconds between two kills."""
PAUSE = 0.25
"""Seconds between two posts of one poster."""
ARRIVES_WITHIN = 120.0
LOOK_EVERY = 0.5
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
                await asyncio.sleep(PAUSE)


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


class Told:
    """Who was told of what; every request is looked at once."""

    def __init__(self, inbox: Receiver, paths: list[str]) -> None:
        self._inbox = inbox
        self._seen = 0
        self.by_path: dict[str, set[str]] = {path: set() for path in paths}

    def look(self) -> None:
        for request in self._inbox.requests[self._seen :]:
            self._seen += 1
            self.by_path[request.target].add(msgspec.json.decode(request.body)["body"])

    async def arrived(self, expected: set[str]) -> None:
        """Until everything expected is everywhere; says what is missing when it does not come."""
        missing: dict[str, int] = {}
        try:
            async with asyncio.timeout(ARRIVES_WITHIN):
                while missing := {
                    p: left for p, got in self.by_path.items() if (left := len(expected - got))
                }:
                    await self._inbox.wait_for(self._seen + max(missing.values()), ARRIVES_WITHIN)
                    self.look()
        except TimeoutError as error:
            raise AssertionError(f"of {len(expected)} messages are missing {missing}") from error


async def kill_again_and_again(nodes: NodeGroup, random: Random) -> None:
    for number in range(KILLS):
        await asyncio.sleep(random.uniform(*LIFE))
        victim = nodes.processes[number % len(nodes.processes)]
        await nodes.kill([victim])
        await nodes.start(victim)


async def recorded(nodes: NodeGroup, subscriptions: list[str], count: int, *, ok: bool) -> None:
    """Until each subscription has attempts of so many messages recorded that ended so."""
    async with PlainClient(nodes.port, project=PROJECT, client_id=CLIENT) as client:
        async with asyncio.timeout(ARRIVES_WITHIN):
            for each in subscriptions:
                while len(await messages_tried(client, each, ok=ok)) < count:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_EVERY)


async def messages_tried(client: PlainClient, subscription: str, *, ok: bool) -> set[str]:
    found: set[str] = set()
    base = f"/v2/queues/jobs/subscriptions/{subscription}/attempts"
    target = f"{base}?since=86400&limit=1000"
    while target:
        answer = await client.ask("GET", target)
        assert answer.status == 200, answer
        document = msgspec.json.decode(answer.body)
        found |= {a["message_id"] for a in document["attempts"] if a["ok"] == ok}
        target = document["links"][0]["href"] if document["links"] else ""
    return found


class KilledNodesConformance:
    NODES = 2

    @pytest.mark.slow
    async def test_everything_acknowledged_arrives_at_everybody_although_nodes_are_killed(
        self, tmp_path: Path, url: str
    ) -> None:
        random = Random(11)
        with ExitStack() as stack:
            dead = [
                f"http://127.0.0.1:{stack.enter_context(refusing_port())}/" for _ in range(DEAD)
            ]
            async with (
                receiver() as inbox,
                NodeGroup(tmp_path, self.NODES, url, random) as nodes,
            ):
                paths = [f"/ok?{n}" for n in range(HEALTHY)]
                subscriptions = await subscribe(nodes, [*map(inbox.url, paths), *dead])
                posters = Posters(nodes)
                async with asyncio.TaskGroup() as group:
                    for name in "ab":
                        group.create_task(posters.run(name))
                    await kill_again_and_again(nodes, random)
                    posters.stopping = True
                told = Told(inbox, paths)
                await told.arrived(posters.acknowledged)
                assert all(got <= posters.posted for got in told.by_path.values())
                # What was delivered right before a kill is delivered, and recorded, once more.
                healthy = [subscriptions[inbox.url(path)] for path in paths]
                await recorded(nodes, healthy, len(posters.acknowledged), ok=True)
                await recorded(nodes, [subscriptions[each] for each in dead], 1, ok=False)
                for process in list(nodes.processes):
                    assert await nodes.stop(process) == 0
            assert len(posters.acknowledged) > 30
