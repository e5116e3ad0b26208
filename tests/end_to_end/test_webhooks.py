"""The real server, and webhooks that arrive: also after a kill, and after an orderly stop."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from nuska.testing.receiver import Receiver, receiver
from nuska.testing.server_process import ServerProcess


class Caller:
    """A project's client."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def subscribe(self, server: ServerProcess, queue: str, subscriber: str) -> str:
        url = f"{server.url}/v2/queues/{queue}/subscriptions"
        async with self._session.post(url, json={"subscriber": subscriber, "ttl": 3600}) as answer:
            assert answer.status == 201, await answer.text()
            found: str = (await answer.json())["subscription_id"]
            return found

    async def post(self, server: ServerProcess, queue: str, *bodies: object) -> None:
        url = f"{server.url}/v2/queues/{queue}/messages"
        messages = [{"body": body, "ttl": 3600} for body in bodies]
        async with self._session.post(url, json={"messages": messages}) as answer:
            assert answer.status == 201, await answer.text()


@pytest.fixture
async def caller() -> AsyncIterator[Caller]:
    headers = {"X-Project-Id": "acme", "Client-ID": str(uuid.uuid4())}
    # No connection outlives the server that it was made to.
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:
        yield Caller(session)


@pytest.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


def told(inbox: Receiver, path: str) -> list[object]:
    return [document["body"] for document in inbox.bodies(path) if isinstance(document, dict)]


async def test_what_is_posted_arrives_at_every_subscriber(
    tmp_path: Path, caller: Caller, inbox: Receiver
) -> None:
    with ServerProcess(tmp_path) as server:
        for path in ("/ok?a", "/ok?b"):
            await caller.subscribe(server, "jobs", inbox.url(path))
        await caller.post(server, "jobs", 1, 2, 3)
        await inbox.wait_for(6)
        assert told(inbox, "/ok?a") == told(inbox, "/ok?b") == [1, 2, 3]


@pytest.mark.slow
async def test_what_a_killed_server_had_not_delivered_is_delivered_by_the_next(
    tmp_path: Path, caller: Caller, inbox: Receiver
) -> None:
    with ServerProcess(tmp_path) as server:
        await caller.subscribe(server, "jobs", inbox.url("/status/503?once"))
        await caller.subscribe(server, "jobs", inbox.url("/ok"))
        await caller.post(server, "jobs", "one")
        await inbox.wait_for(5)
        server.kill()
        before = len(inbox.requests)
        await asyncio.to_thread(server.start)
        await inbox.wait_for(before + 1)
        assert set(map(str, told(inbox, "/ok"))) == {"one"}
        await inbox.wait_for(before + 2)


@pytest.mark.slow
async def test_a_server_that_stops_in_order_delivers_nothing_twice(
    tmp_path: Path, caller: Caller, inbox: Receiver
) -> None:
    with ServerProcess(tmp_path) as server:
        await caller.subscribe(server, "jobs", inbox.url())
        await caller.post(server, "jobs", *range(50))
        await inbox.wait_for(1)
        await asyncio.to_thread(server.terminate)
        await asyncio.to_thread(server.start)
        await caller.post(server, "jobs", "last")
        await inbox.wait_for(51)
        assert sorted(map(str, told(inbox, "/ok"))) == sorted([*map(str, range(50)), "last"])
