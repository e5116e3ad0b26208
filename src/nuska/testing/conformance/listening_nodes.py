"""What several nodes on one store promise to who listens live, on every shared store."""

import asyncio
import uuid
from pathlib import Path
from random import Random

from nuska.testing.event_source import EventSource
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient
from nuska.testing.websocket_client import talking

MESSAGES = "/v2/queues/news/messages"
ROUNDS = 10


class ListeningNodesConformance:
    async def test_who_listens_hears_what_is_posted_anywhere_and_goes_on_at_another_node(
        self, tmp_path: Path, url: str
    ) -> None:
        """The first node dies while messages are posted to both; its listener comes back to the
        second, and to the first when that is there again."""
        project = f"project-{uuid.uuid4().hex}"
        stream = f"{MESSAGES}/stream?project_id={project}"
        client_id = str(uuid.uuid4())
        posted = 0

        async def post(port: int) -> None:
            nonlocal posted
            message = {"body": posted}
            posted += 1
            async with PlainClient(port, project=project, client_id=client_id) as client:
                answer = await client.ask("POST", MESSAGES, {"messages": [message]})
            assert answer.status == 201, answer.body

        async with NodeGroup(tmp_path, 2, url, Random(1)) as nodes:
            one, two = nodes.processes
            async with EventSource(one.port, stream) as source:
                await source.begun()
                for _ in range(ROUNDS):
                    await post(one.port)
                    await post(two.port)
                assert sorted(await source.bodies(posted)) == list(range(posted))
                await nodes.kill([one])
                marker, heard = source.last_id, posted
            for _ in range(ROUNDS):
                await post(two.port)
            async with EventSource(two.port, f"{stream}&marker={marker}") as source:
                await post(two.port)
                assert await source.bodies(posted - heard) == list(range(heard, posted))
                await nodes.start(one)
                await post(one.port)
                await source.bodies(1)
                heard, marker = posted, source.last_id
            await asyncio.gather(*(post(one.port) for _ in range(ROUNDS)))
            async with EventSource(one.port, stream, headers={"Last-Event-ID": marker}) as source:
                assert sorted(await source.bodies(posted - heard)) == list(range(heard, posted))
                await nodes.stop(one)
                assert [event.type for event in await source.rest()] == ["notice"]

    async def test_subscriptions_of_connections_end_at_every_node_when_one_purges_them(
        self, tmp_path: Path, url: str
    ) -> None:
        """Those that were there: who subscribes when the purge was answered stays."""
        project, client_id = f"project-{uuid.uuid4().hex}", str(uuid.uuid4())
        options = {"detailed": True}
        async with NodeGroup(tmp_path, 2, url, Random(1)) as nodes:
            one, two = nodes.processes
            where = f"ws://127.0.0.1:{one.port}/v2/websocket"
            async with (
                PlainClient(two.port, project=project, client_id=client_id) as client,
                talking(where, project=project) as before,
                talking(where, project=project) as later,
            ):
                await before.ask("subscription_create", queue_name="news", options=options)
                purge = {"resource_types": ["subscriptions"]}
                answer = await client.ask("POST", "/v2/queues/news/purge", purge)
                assert answer.status == 204, answer.body
                await later.ask("subscription_create", queue_name="news", options=options)
                assert (await before.push())["Message_Type"] == "SubscriptionEnded"
                answer = await client.ask("POST", MESSAGES, {"messages": [{"body": 1}]})
                assert answer.status == 201, answer.body
                assert (await later.push())["body"] == 1
                await before.ask("queue_list")
                assert before.pushes == []
