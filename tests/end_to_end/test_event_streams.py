"""Event streams of a real server: across its restarts, over pools, and with curl."""

import asyncio
import json
import shutil
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from nuska.testing.event_source import EventSource
from nuska.testing.plain_http import PlainClient
from nuska.testing.server_process import ServerProcess

MESSAGES = "/v2/queues/news/messages"
STREAM = f"{MESSAGES}/stream?project_id=acme"
CLIENT = str(uuid.uuid4())


async def post(server: ServerProcess, *bodies: Any, **more: Any) -> None:
    messages = [{"body": body, **more} for body in bodies]
    async with PlainClient(server.port, project="acme", client_id=CLIENT) as client:
        answer = await client.ask("POST", MESSAGES, {"messages": messages})
        assert answer.status == 201, answer.body


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_listener_goes_on_after_a_restart_without_a_gap(
    tmp_path: Path, orderly: bool
) -> None:
    with ServerProcess(tmp_path) as server:
        async with EventSource(server.port, STREAM) as source:
            await source.begun()
            await post(server, "a", "b")
            assert await source.bodies(2) == ["a", "b"]
            await asyncio.to_thread(server.terminate if orderly else server.kill)
            ends = await source.rest()
            assert [event.type for event in ends] == (["notice"] if orderly else [])
        await asyncio.to_thread(server.start)
        await post(server, "c")
        headers = {"Last-Event-ID": source.last_id}
        async with EventSource(server.port, STREAM, headers=headers) as source:
            await post(server, "d")
            assert await source.bodies(2) == ["c", "d"]


async def test_a_delayed_message_comes_when_it_is_due(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        async with PlainClient(server.port, project="acme", client_id=CLIENT) as client:
            made = await client.ask("PUT", "/v2/queues/news", {"_default_message_delay": 2})
            assert made.status == 201
        async with EventSource(server.port, STREAM) as source:
            await source.begun()
            await post(server, "late")
            await post(server, "now", delay=0)
            assert await source.bodies(2) == ["now", "late"]


async def test_curl_shows_what_is_posted(tmp_path: Path) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is needed here"
    with ServerProcess(tmp_path) as server:
        running = await asyncio.create_subprocess_exec(
            curl, "-sN", f"{server.url}{STREAM}", stdout=asyncio.subprocess.PIPE
        )
        assert running.stdout is not None
        try:
            async with asyncio.timeout(20):
                while not (await running.stdout.readline()).startswith(b"id: "):
                    pass
                await post(server, {"goal": 1})
                while not (line := await running.stdout.readline()).startswith(b"data: "):
                    pass
        finally:
            running.kill()
            await running.wait()
        assert json.loads(line.removeprefix(b"data: "))["body"] == {"goal": 1}


async def test_streams_work_over_pools(tmp_path: Path) -> None:
    arguments = ("--pooling", "--admin-mode")
    with ServerProcess(tmp_path / "data", *arguments) as server:
        async with PlainClient(server.port, project="acme", client_id=CLIENT) as client:
            uri = f"sqlite://{tmp_path}/pool.db"
            made = await client.ask(
                "PUT", "/v2/pools/one", {"uri": uri, "weight": 1}, X_Roles="admin"
            )
            assert made.status == 201, made.body
        async with EventSource(server.port, STREAM) as source:
            await source.begun()
            await post(server, "a")
            assert await source.bodies(1) == ["a"]
        await post(server, "b")
        async with EventSource(server.port, f"{STREAM}&marker={source.last_id}") as source:
            await post(server, "c")
            assert await source.bodies(2) == ["b", "c"]


async def test_a_signed_link_is_enough_to_listen_and_good_for_its_queue_only(
    tmp_path: Path,
) -> None:
    environment = {"NUSKA_SIGNING_KEY": "k" * 40}
    with ServerProcess(tmp_path, environment=environment) as server:
        async with PlainClient(server.port, project="acme", client_id=CLIENT) as client:
            terms = {"paths": ["messages"], "methods": ["GET"]}
            shared = json.loads((await client.ask("POST", "/v2/queues/news/share", terms)).body)
        link = urlencode(
            {
                "signature": shared["signature"],
                "expires": shared["expires"],
                "methods": ",".join(shared["methods"]),
                "paths": ",".join(shared["paths"]),
                "project_id": shared["project"],
            }
        )
        async with EventSource(server.port, f"{MESSAGES}/stream?{link}") as source:
            await source.begun()
            await post(server, "a")
            assert await source.bodies(1) == ["a"]
        for path in ("/v2/queues/other/messages/stream", f"{MESSAGES}/stream"):
            forged = link if "other" in path else link.replace("acme", "mine")
            async with EventSource(server.port, f"{path}?{forged}") as source:
                assert source.status == 404
