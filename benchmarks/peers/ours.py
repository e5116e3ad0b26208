"""Nuska on its default store, as `nuska serve` comes, through `nuska.client` over WebSocket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers.peer import IN_FLIGHT, job
from nuska.client import Client, Message, Queue
from nuska.testing.server_process import ServerProcess

CLAIMERS = 16
CLAIM_TTL = 600
"""Seconds; longer than a phase may take."""


class Nuska:
    name = "Nuska"
    durability = "posts, claims and deletes synced to disk before they are answered"
    in_flight = IN_FLIGHT
    claimers = CLAIMERS

    def __init__(self, producer: Queue, worker: Queue) -> None:
        self._producer = producer
        self._worker = worker

    async def post(self, number: int) -> None:
        await self._producer.post(job(number))

    async def claim(self, most: int) -> list[tuple[Message, str]]:
        claim = await self._worker.create_claim(limit=most, ttl=CLAIM_TTL)
        return [] if claim is None else [(message, claim.id) for message in claim.messages]

    async def delete(self, claimed: list[tuple[Message, str]]) -> None:
        ids = [message.id for message, _ in claimed]
        await self._worker.delete_messages(ids, claim_ids=[claimed[0][1]])

    async def settled(self) -> None:
        """Each delete was."""


@asynccontextmanager
async def nuska(directory: Path) -> AsyncIterator[Nuska]:
    with ServerProcess(directory / "nuska") as server:
        async with (
            Client(server.url, project="bench", transport="websocket") as producer,
            Client(server.url, project="bench", transport="websocket") as worker,
        ):
            yield Nuska(producer.queue("jobs"), worker.queue("jobs"))
