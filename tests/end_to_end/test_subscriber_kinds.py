"""The real server and each kind of subscriber, as a client meets them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nuska.domain.webhooks import parse_secret, refusal
from nuska.system import SystemClock
from nuska.testing.receiver import Receiver, receiver
from nuska.testing.server_process import ServerProcess

HEADERS = {"X-Project-Id": "acme", "Client-ID": "0f8fad5bd9cb469fa165708677289501"}
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SOON = 30.0
"""Seconds; a wait for what has a reason to come."""

REFUSED: list[tuple[str, dict[str, object]]] = [
    ("http://169.254.169.254/latest/meta-data/", {}),
    ("http://10.0.0.1/", {}),
    ("http://2130706433/", {}),
    ("http://me:secret@example.net/", {}),
    ("http://example.net:6379/", {}),
    ("trust+http://example.net/", {}),
    ("queue:jobs", {}),
    ("ftp://example.net/", {}),
    ("http://example.net/", {"post_headers": {"Host": "other"}}),
    ("http://example.net/", {"filter": {"body": {"a": "no list"}}}),
    ("http://example.net/", {"_retry_policy": {"maximum_delay": 100_000}}),
    ("mailto:a@example.net", {"subject": "a\nBcc: b@example.net"}),
]


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def ask(self, method: str, path: str, document: object = None) -> tuple[int, Any]:
        url = f"{self._url}/v2/queues/{path}"
        async with self._session.request(method, url, json=document) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None

    async def subscribe(self, queue: str, subscriber: str, **options: object) -> str:
        document = {"subscriber": subscriber, "options": options}
        status, made = await self.ask("POST", f"{queue}/subscriptions", document)
        assert status == 201, made
        found: str = made["subscription_id"]
        return found

    async def post(self, queue: str, *bodies: object) -> None:
        messages = [{"body": body, "ttl": 600} for body in bodies]
        status, _ = await self.ask("POST", f"{queue}/messages", {"messages": messages})
        assert status == 201

    async def taken(self, queue: str, count: int) -> list[object]:
        """So many bodies, claimed as they come."""
        bodies: list[object] = []
        async with asyncio.timeout(SOON):
            while len(bodies) < count:
                status, found = await self.ask("POST", f"{queue}/claims?wait=5", {})
                if status == 201:
                    bodies += [message["body"] for message in found["messages"]]
        return bodies


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(headers=HEADERS, connector=connector) as session:
        with ServerProcess(tmp_path) as server:
            yield Client(session, server.url)


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with receiver() as found:
        yield found


async def test_one_post_feeds_several_work_queues_and_a_ring_of_queues_ends(client: Client) -> None:
    for name in ("resize", "index"):
        await client.subscribe("images", f"queue:{name}")
    await client.post("images", {"path": "/a.png"})
    for name in ("resize", "index"):
        assert await client.taken(name, 1) == [{"path": "/a.png"}]
    await client.subscribe("ping", "queue:pong")
    await client.subscribe("pong", "queue:ping")
    await client.post("ping", "ball")
    assert await client.taken("pong", 1) == ["ball"]
    assert await client.taken("ping", 2) == ["ball"] * 2


async def test_a_replay_feeds_a_work_queue_once_more_at_once(client: Client) -> None:
    made = await client.subscribe("images", "queue:resize")
    await client.post("images", {"path": "/a.png"}, {"path": "/b.png"})
    assert await client.taken("resize", 2) == [{"path": "/a.png"}, {"path": "/b.png"}]
    for _ in range(2):
        status, _ = await client.ask("POST", f"images/subscriptions/{made}/replay", {"since": 60})
        assert status == 204
        assert await client.taken("resize", 2) == [{"path": "/a.png"}, {"path": "/b.png"}]
    await client.post("images", {"path": "/c.png"})
    assert await client.taken("resize", 1) == [{"path": "/c.png"}]
    _, stats = await client.ask("GET", f"images/subscriptions/{made}/stats")
    assert (stats["state"], stats["breaker"]) == ("active", "closed")


async def test_a_filter_chooses_and_a_secret_signs_and_is_not_shown(
    client: Client, hooks: Receiver
) -> None:
    chosen = {"body": {"state": ["failed"]}}
    options = {"filter": chosen, "signing_secrets": [SECRET], "post_format": "cloudevents"}
    made = await client.subscribe("jobs", hooks.url(), **options)
    await client.post("jobs", {"state": "done"}, {"state": "failed"}, "text")
    await hooks.wait_for(1)
    await client.post("jobs", {"state": "failed", "last": True})
    await hooks.wait_for(2)
    assert [event["data"]["state"] for event in hooks.bodies() if isinstance(event, dict)] == [
        "failed",
        "failed",
    ]
    [first, _] = hooks.requests
    key = parse_secret(SECRET)
    assert refusal([key], first.headers, first.body, now=SystemClock().now()) is None
    _, shown = await client.ask("GET", f"jobs/subscriptions/{made}")
    assert shown["options"]["signing_secrets"] == ["***"]
    assert shown["options"]["filter"] == chosen


async def test_what_cannot_be_told_is_refused_when_it_is_asked_for(client: Client) -> None:
    for subscriber, options in REFUSED:
        document = {"subscriber": subscriber, "options": options}
        status, error = await client.ask("POST", "jobs/subscriptions", document)
        assert status == 400, document
        assert "secret" not in json.dumps(error)
