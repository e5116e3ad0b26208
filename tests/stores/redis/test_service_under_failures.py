"""The real server over a Redis that is paused, killed or cut off: 503 in time, and on again."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from nuska.stores.redis.lane import ANSWER_WITHIN, CONNECT_WITHIN
from nuska.testing.redis_server import RedisServer
from nuska.testing.server_process import ServerProcess

WHO = {"Client-ID": "3381af92-2b9e-11e3-b191-71861300734c", "X-Project-Id": "p"}
POSTERS = 8
BOUND = 2 * (CONNECT_WITHIN + ANSWER_WITHIN) + 2
"""Seconds for one answer: a post looks at its queue first, which may wait as long again."""
OUTAGE = 4.0
"""Seconds; longer than a silent server is waited for."""
ENOUGH = 100
"""Posts before the outage, and after it."""
PATIENCE = 40.0


@pytest.fixture
def nuska(server: RedisServer, tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "data", store=server.url) as running:
        yield running


class Load:
    """Posters that go on whatever they are answered, and note it."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = f"{url}/v2/queues/inbox/messages"
        self.acknowledged: list[str] = []
        self.unknown: set[str] = set()
        self.longest = 0.0
        self._stopping = False

    async def post_on(self, name: int) -> None:
        number = 0
        while not self._stopping:
            number += 1
            body = f"{name}:{number}"
            began = time.monotonic()
            document = {"messages": [{"body": body, "ttl": 3600}]}
            async with self._http.post(self._url, json=document) as answer:
                self.longest = max(self.longest, time.monotonic() - began)
                if answer.status == 201:
                    self.acknowledged.append(body)
                    continue
                text = await answer.text()
                assert answer.status == 503, text
                assert int(answer.headers["Retry-After"]) >= 1
                assert json.loads(text)["title"] == "Service temporarily unavailable"
                self.unknown.add(body)
            await asyncio.sleep(0.1)

    async def more(self) -> None:
        """Until so many more were acknowledged."""
        goal = len(self.acknowledged) + ENOUGH
        async with asyncio.timeout(PATIENCE):
            while len(self.acknowledged) < goal:  # noqa: ASYNC110  they are only counted
                await asyncio.sleep(0.02)

    def stop(self) -> None:
        self._stopping = True

    async def drain(self) -> Counter[str]:
        taken: Counter[str] = Counter()
        while True:
            async with self._http.delete(self._url, params={"pop": "20"}) as answer:
                found = (await answer.json()).get("messages", []) if answer.status == 200 else []
            if not found:
                return taken
            taken.update(message["body"] for message in found)


def pause(server: RedisServer) -> None:
    server.pause()
    time.sleep(OUTAGE)
    server.resume()


def kill_and_start(server: RedisServer) -> None:
    server.kill()
    time.sleep(1)
    server.start()


def restart(server: RedisServer) -> None:
    server.stop()
    server.start()


def cut(server: RedisServer) -> None:
    for _ in range(20):
        server.ask("CLIENT", "KILL", "TYPE", "normal")
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("fail", [pause, kill_and_start, restart, cut])
async def test_under_load_an_outage_is_answered_503_and_loses_and_doubles_nothing(
    server: RedisServer, nuska: ServerProcess, fail: Callable[[RedisServer], None]
) -> None:
    async with aiohttp.ClientSession(headers=WHO) as http:
        load = Load(http, nuska.url)
        posters = [asyncio.create_task(load.post_on(name)) for name in range(POSTERS)]
        await load.more()
        await asyncio.to_thread(fail, server)
        await load.more()
        load.stop()
        await asyncio.gather(*posters)
        taken = await load.drain()
    assert load.longest < BOUND
    assert load.unknown, "the outage was not noticed, so this shows nothing"
    assert set(load.acknowledged) - set(taken) == set()
    assert set(taken) <= set(load.acknowledged) | load.unknown
    assert set(taken.values()) == {1}
    assert nuska.running
