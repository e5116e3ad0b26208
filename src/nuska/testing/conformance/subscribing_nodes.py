"""What several nodes on one store promise to who subscribes, on every shared store."""

import asyncio
import uuid
from pathlib import Path
from random import Random

import msgspec

from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient

SUBSCRIPTIONS = "/v2/queues/jobs/subscriptions"
AT_ONCE = 12
"""Clients at each node."""
HOOK = "https://hooks.example.net/in"


class SubscribingNodesConformance:
    async def test_who_subscribes_at_several_nodes_at_the_same_moment_has_one_subscription(
        self, tmp_path: Path, url: str
    ) -> None:
        project = f"project-{uuid.uuid4().hex}"

        async def subscribe(port: int, subscriber: str) -> str:
            client = PlainClient(port, project=project, client_id=str(uuid.uuid4()))
            async with client:
                made = await client.ask("POST", SUBSCRIPTIONS, {"subscriber": subscriber})
            assert made.status == 201, made.body
            found: str = msgspec.json.decode(made.body)["subscription_id"]
            return found

        async with NodeGroup(tmp_path, 2, url, Random(1)) as nodes:
            ports = [process.port for process in nodes.processes]
            same = [subscribe(port, HOOK) for port in ports for _ in range(AT_ONCE)]
            others = [
                subscribe(port, f"{HOOK}/{port}/{number}")
                for port in ports
                for number in range(AT_ONCE)
            ]
            ids = await asyncio.gather(*same, *others)
            assert len(set(ids[: len(same)])) == 1
            assert len(set(ids)) == 1 + len(others)
            for port in ports:  # each node sees all of them, and no more
                async with PlainClient(port, project=project, client_id=str(uuid.uuid4())) as seer:
                    seen, target = set[str](), f"{SUBSCRIPTIONS}?limit=20"
                    while True:
                        page = msgspec.json.decode((await seer.ask("GET", target)).body)
                        if not page["subscriptions"]:
                            break
                        seen |= {item["id"] for item in page["subscriptions"]}
                        target = page["links"][0]["href"]
                    assert seen == set(ids)
