"""What several nodes on one store promise to who listens live, on every shared store."""

import asyncio
import uuid
from pathlib import Path
from random import Random

from nuska.testing.event_source import EventSource
from nuska.testing.node_group import NodeGroup
from nuska.testing.plain_http import PlainClient

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
