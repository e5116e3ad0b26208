"""What clients of the service see while the engine of its store fails: 503 with Retry-After
within a bound, nothing lost, nothing twice, and then answers again (I24).

A real ``nuska serve`` runs on the store. A driver's tests provide ``engine``, as for
``FailureConformance``.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import ClassVar

import aiohttp
import pytest

from nuska.testing.engine import Engine
from nuska.testing.fault_proxy import FaultProxy, fault_proxy
from nuska.testing.server_process import ServerProcess

WHO = {"Client-ID": "3381af92-2b9e-11e3-b191-71861300734c", "X-Project-Id": "p"}
POSTERS = 8
DOWN = 1.0
"""Seconds between a crash and the next start."""
CUTS = 20
ENOUGH = 100
"""Posts before the outage, and after it."""
PATIENCE = 60.0
NOTICED = 0.5
"""Seconds that no post takes while nothing is wrong."""


class HttpLoad:
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


async def kill_and_start(engine: Engine, proxy: FaultProxy, outage: float) -> None:
    engine.kill()
    await asyncio.sleep(DOWN)
    await asyncio.to_thread(engine.start)


async def restart(engine: Engine, proxy: FaultProxy, outage: float) -> None:
    await asyncio.to_thread(engine.restart)


async def pause(engine: Engine, proxy: FaultProxy, outage: float) -> None:
    engine.pause()
    await asyncio.sleep(outage)
    engine.resume()


async def cut(engine: Engine, proxy: FaultProxy, outage: float) -> None:
    for _ in range(CUTS):
        proxy.cut()
        await asyncio.sleep(0.05)


Failing = Callable[[Engine, FaultProxy, float], Awaitable[None]]


class ServiceFailureConformance:
    BOUND: ClassVar[float] = 24.0
    """Seconds for one answer: a post looks at its queue first, which may wait as long again."""
    OUTAGE: ClassVar[float] = 6.0
    """Seconds; longer than a silent engine is waited for."""

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError("a driver's tests provide it")

    @pytest.fixture
    async def proxy(self, engine: Engine) -> AsyncIterator[FaultProxy]:
        async with fault_proxy(engine.port) as proxy:
            yield proxy

    @pytest.fixture
    def nuska(self, engine: Engine, proxy: FaultProxy, tmp_path: Path) -> Iterator[ServerProcess]:
        """Reaches its store through the proxy. To be started from another thread, since the
        proxy lives in the event loop. Afterwards the engine runs again."""
        engine.resume()
        engine.start()
        url = engine.through(engine.new_url(), proxy.port)
        server = ServerProcess(tmp_path / "data", store=url)
        yield server
        server.kill()
        engine.resume()
        engine.start()

    @pytest.mark.slow
    @pytest.mark.parametrize("fail", [pause, kill_and_start, restart, cut])
    async def test_under_load_an_outage_is_answered_503_and_loses_and_doubles_nothing(
        self,
        engine: Engine,
        proxy: FaultProxy,
        nuska: ServerProcess,
        fail: Failing,
    ) -> None:
        await asyncio.to_thread(nuska.start)
        async with aiohttp.ClientSession(headers=WHO) as http:
            load = HttpLoad(http, nuska.url)
            posters = [asyncio.create_task(load.post_on(name)) for name in range(POSTERS)]
            await load.more()
            await fail(engine, proxy, self.OUTAGE)
            await load.more()
            load.stop()
            await asyncio.gather(*posters)
            taken = await load.drain()
        assert nuska.running
        assert load.longest < self.BOUND
        assert set(load.acknowledged) - set(taken) == set()
        assert set(taken) <= set(load.acknowledged) | load.unknown
        assert set(taken.values()) == {1}
        if fail is not cut:  # else a store may have waited until it was over
            noticed = load.unknown or load.longest > NOTICED
            assert noticed, "the outage was not noticed, so this shows nothing"
