"""Some nodes on one store, each a process of its own, for tests that take them away one by one.

Knows which of them serve; says to a client where to go next. Waits in threads, so that clients
in the same event loop work on meanwhile.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from nuska.testing.plain_http import PlainClient, Unanswered
from nuska.testing.server_process import ServerProcess

RECOVERED_WITHIN = 60.0
"""Seconds until a node must reach its store again."""
LOOK_EVERY = 0.05


class NodeGroup:
    """``async with NodeGroup(…) as nodes``: all of them serve, and all end with the context."""

    def __init__(
        self,
        directory: Path,
        nodes: int,
        store: str,
        random: Random,
        environments: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """``environments`` are given to the nodes in turn."""
        self.processes = [
            ServerProcess(
                directory / f"node-{number}",
                store=store,
                environment=environments[number % len(environments)] if environments else None,
            )
            for number in range(nodes)
        ]
        self._random = random
        self._serving: list[ServerProcess] = []
        self._last_port = 0
        self.up = asyncio.Event()
        """At least one of them serves, and its store should answer."""

    async def __aenter__(self) -> Self:
        try:
            for process in self.processes:
                await self.start(process)
        except BaseException:
            await self.end()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.end()

    def port(self) -> int:
        """Of one that serves; while none does, of one that did."""
        if self._serving:
            self._last_port = self._random.choice(self._serving).port
        return self._last_port

    async def start(self, process: ServerProcess) -> None:
        """The first time where there is room, then where it was."""
        await asyncio.to_thread(process.start)
        self._serving.append(process)
        self.up.set()

    async def kill(self, processes: Iterable[ServerProcess]) -> None:
        for process in processes:
            self._leave(process)
            await asyncio.to_thread(process.kill)

    async def stop(self, process: ServerProcess) -> int:
        """In order; its exit code."""
        self._leave(process)
        return await asyncio.to_thread(process.terminate)

    async def end(self) -> None:
        await self.kill(self.processes)

    async def recovered(self) -> None:
        """Every one that serves reaches its store."""
        async with asyncio.timeout(RECOVERED_WITHIN):
            for process in self._serving:
                async with PlainClient(process.port, project="-", client_id="-") as client:
                    while not await _reaches_its_store(client):  # noqa: ASYNC110
                        await asyncio.sleep(LOOK_EVERY)

    def _leave(self, process: ServerProcess) -> None:
        if process in self._serving:
            self._serving.remove(process)
        if not self._serving:
            self.up.clear()


async def _reaches_its_store(client: PlainClient) -> bool:
    try:
        return (await client.ask("GET", "/v2/ping")).status == 204
    except Unanswered:
        return False
