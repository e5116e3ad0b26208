"""What is published to a topic of a real server arrives: at a webhook, and in queues of work."""

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nuska.client import Client
from nuska.testing.receiver import Receiver, receiver
from nuska.testing.server_process import ServerProcess

ARRIVES_WITHIN = 30


@pytest.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def test_one_message_feeds_a_webhook_and_several_queues_and_no_queue_of_the_topics_name(
    tmp_path: Path, inbox: Receiver
) -> None:
    with ServerProcess(tmp_path) as server:
        async with Client(server.url, project=f"project-{uuid.uuid4().hex}") as client:
            news = client.topic("news")
            await news.subscriptions.create(inbox.url())
            for name in ("resize", "index"):
                await news.subscriptions.create(f"queue:{name}")
            await client.queue("news").subscriptions.create(inbox.url("/queue"))
            await news.publish({"image": 17}, attributes={"kind": "new"})
            await inbox.wait_for(1, within=ARRIVES_WITHIN)
            [told] = inbox.bodies()
            assert isinstance(told, dict)
            assert (told["body"], told["queue_name"]) == ({"image": 17}, "news")
            for name in ("resize", "index"):
                async with client.queue(name).claim(wait=ARRIVES_WITHIN) as claim:
                    [message] = claim
                    assert message.body == {"image": 17}
                    await message.delete()
            assert await client.queue("news").messages().all() == []
            assert inbox.bodies("/queue") == []
            assert (await news.stats()).total == 1
