"""The real server: dead letters are shown, and sent on their way again."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from nuska.testing.receiver import receiver
from nuska.testing.server_process import ServerProcess

LOOKS = 100
BETWEEN = 0.1

Dead = Callable[[], Awaitable[list[dict[str, object]]]]


async def until_there(dead: Dead) -> list[dict[str, object]]:
    """What was given up is written down within a flush."""
    for _ in range(LOOKS):
        if letters := await dead():
            return letters
        await asyncio.sleep(BETWEEN)
    raise AssertionError("nothing was given up")


async def test_a_refused_notification_is_found_and_redriven(tmp_path: Path) -> None:
    headers = {"X-Project-Id": "acme", "Client-ID": str(uuid.uuid4())}
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        receiver() as inbox,
        aiohttp.ClientSession(headers=headers, connector=connector) as session,
    ):
        with ServerProcess(tmp_path) as server:
            queue = f"{server.url}/v2/queues/jobs"

            async def call(method: str, path: str, body: object = None) -> tuple[int, object]:
                async with session.request(method, f"{queue}{path}", json=body) as answer:
                    return answer.status, await answer.json() if answer.content_length else None

            async def dead() -> list[dict[str, object]]:
                status, page = await call("GET", "/dead_letters")
                assert status == 200
                assert isinstance(page, dict)
                letters: list[dict[str, object]] = page["dead_letters"]
                return letters

            status, _ = await call(
                "POST", "/subscriptions", {"subscriber": inbox.url("/status/400")}
            )
            assert status == 201
            await call("POST", "/messages", {"messages": [{"body": {"n": 1}}]})
            await inbox.wait_for(1)
            [letter] = await until_there(dead)
            assert (letter["kind"], letter["count"], letter["body"]) == ("delivery", 1, {"n": 1})
            assert "400" in str(letter["reason"])
            status, redriven = await call("POST", "/dead_letters/redrive", {"ids": [letter["id"]]})
            assert (status, redriven) == (
                200,
                {"ids": [letter["id"]], "skipped": 0, "marker": "", "complete": True},
            )
            await inbox.wait_for(2)
            for bad in ({"ids": []}, {"ids": 5}, {"limit": 101}, {"nonsense": 1}, {"dry_run": 1}):
                status, _ = await call("POST", "/dead_letters/redrive", bad)
                assert status == 400
