"""Nuska on its default store, as `nuska serve` comes, through `nuska.client` over WebSocket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers.peer import IN_FLIGHT, Claimed, job
from nuska.client import Client, Queue
from nuska.testing.server_process import ServerProcess

CLAIMERS = 16
CLAIM_TTL = 600
"""Seconds; longer than a phase may take."""


class Nuska:
    name = "Nuska"
    durability = "posts, claims and deletes synced to disk before they are answered"
    in_flight = IN_FLIGHT
    claimers = CLAIMERS

    def __init__(self, server: ServerProcess, producer: Queue, worker: Queue) -> None:
        self._server = server
        self._producer = producer
        self._worker = worker

    def pids(self) -> list[int]:
        return [self._server.pid]

    async def post(self, number: int) -> None:
        await self._producer.post(job(number))

    async def claim(self, most: int) -> list[Claimed]:
        claim = await self._worker.create_claim(limit=most, ttl=CLAIM_TTL)
        if claim is None:
            return []
        return [Claimed((message.id, claim.id), message.body) for message in claim.messages]

    async def delete(self, claimed: list[Claimed]) -> None:
        ids = [one.handle[0] for one in claimed]
        await self._worker.delete_messages(ids, claim_ids=[claimed[0].handle[1]])

    async def settled(self) -> None:
        """Each delete was."""


@asynccontextmanager
async def nuska(directory: Path) -> AsyncIterator[Nuska]:
    with ServerProcess(directory / "nuska") as server:
        async with (
            Client(server.url, project="bench", transport="websocket") as producer,
            Client(server.url, project="bench", transport="websocket") as worker,
        ):
            yield Nuska(server, producer.queue("jobs"), worker.queue("jobs"))
