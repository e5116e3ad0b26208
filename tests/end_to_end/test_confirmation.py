"""A real server asks a webhook whether it wants to be told, and believes its answer."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nuska.testing.receiver import Receiver, receiver
from nuska.testing.server_process import ServerProcess

MEMBER = {"X-Project-Id": "acme", "Client-ID": str(uuid.uuid4())}
SIGNED = ("URL-Signature", "URL-Methods", "URL-Paths", "URL-Expires", "X-Project-ID")
ANSWERED_WITHIN = 30.0


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    # No connection outlives the server that it was made to.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as opened:
        yield opened


@pytest.fixture
async def inbox() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def documents(inbox: Receiver, count: int) -> list[dict[str, Any]]:
    await inbox.wait_for(count, within=ANSWERED_WITHIN)
    return [document for document in inbox.bodies() if isinstance(document, dict)]


async def test_a_webhook_is_told_nothing_before_it_has_confirmed_nor_after_it_has_left(
    tmp_path: Path, session: aiohttp.ClientSession, inbox: Receiver
) -> None:
    options = ["--require-confirmation", "all", "--public-url", "https://mq.example.net"]
    with ServerProcess(tmp_path, *options) as server:
        base = f"{server.url}/v2/queues/jobs"

        async def call(method: str, url: str, body: Any, headers: dict[str, str]) -> Any:
            async with session.request(method, url, json=body, headers=headers) as answer:
                assert answer.status < 300, await answer.text()
                return await answer.json() if answer.content_length else None

        async def post(body: str) -> None:
            await call("POST", f"{base}/messages", {"messages": [{"body": body}]}, MEMBER)

        made = await call("POST", f"{base}/subscriptions", {"subscriber": inbox.url()}, MEMBER)
        [asked] = await documents(inbox, 1)
        path = f"/v2/queues/jobs/subscriptions/{made['subscription_id']}/confirm"
        assert asked["Message_Type"] == "SubscriptionConfirmation"
        assert asked["URL-Paths"] == path
        assert asked["WSGISubscribeURL"] == f"https://mq.example.net{path}"
        await post("before")
        # The receiver has nothing but what it was sent, and a Client-ID of its own making.
        proof = {name: asked[name] for name in SIGNED} | {"Client-ID": str(uuid.uuid4())}
        await call("PUT", f"{server.url}{path}", asked["SubscribeBody"], proof)
        await post("between")
        notified = await documents(inbox, 2)
        assert notified[1]["Message_Type"] == "Notification"
        await call("PUT", f"{server.url}{path}", asked["UnsubscribeBody"], proof)
        farewell = (await documents(inbox, 3))[2:]
        assert [one["Message_Type"] for one in farewell] == ["UnsubscribeConfirmation"]
        await post("after")
        back = {name: farewell[0][name] for name in SIGNED} | {"Client-ID": str(uuid.uuid4())}
        await call("PUT", f"{server.url}{path}", farewell[0]["SubscribeBody"], back)
        await post("again")
        async with asyncio.timeout(ANSWERED_WITHIN):
            count = 4
            while "again" not in (
                told := [one.get("body") for one in await documents(inbox, count)]
            ):
                count = len(told) + 1
    assert "between" in told
