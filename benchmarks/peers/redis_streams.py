"""Redis streams through redis-py: a consumer group, an append-only file."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from benchmarks.peers.peer import IN_FLIGHT, Claimed, job
from benchmarks.peers.phases import PHASE_LIMIT
from benchmarks.processes import Process, free_port, running
from nuska.client.claiming import ClaimCalls, ClaimMerger, Terms
from nuska.client.encoding import EncodedMessage
from nuska.client.merging import Merger
from nuska.client.records import Claim, Message

CLAIMERS = 16
STREAM, GROUP, CONSUMER = "jobs", "workers", "worker"
NEW = {STREAM: ">"}
SURE = {
    "everysec": "append-only file, synced every second",
    "always": "append-only file, synced before anything is answered",
}


class Streams:
    in_flight = IN_FLIGHT
    claimers = CLAIMERS

    def __init__(self, process: Process, redis: Redis, sync: str) -> None:
        self.name = f"Redis streams ({sync})"
        self.durability = SURE[sync]
        self._process = process
        self._redis = redis

    def pids(self) -> list[int]:
        return self._process.pids

    async def open(self) -> None:
        await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)

    async def post(self, number: int) -> None:
        await self._redis.xadd(STREAM, {"job": json.dumps(job(number))})

    async def claim(self, most: int) -> list[Claimed]:
        return _entries(await self._redis.xreadgroup(GROUP, CONSUMER, NEW, count=most))

    async def delete(self, claimed: list[Claimed]) -> None:
        entries = [one.handle for one in claimed]
        async with self._redis.pipeline(transaction=True) as both:
            both.xack(STREAM, GROUP, *entries)
            both.xdel(STREAM, *entries)
            await both.execute()

    async def settled(self) -> None:
        """Each delete was."""


class Together(Streams):
    """Posts, and claims, that are made at once go in pipelines: what Nuska's client does by
    itself, done by the application, with the same rule for what goes together."""

    def __init__(self, process: Process, redis: Redis, sync: str) -> None:
        super().__init__(process, redis, sync)
        self.name = f"Redis streams ({sync}), in pipelines"
        self._merger = Merger(self._add, PHASE_LIMIT)
        self._claims = ClaimMerger(ClaimCalls(self._read, self._keep), PHASE_LIMIT)

    async def post(self, number: int) -> None:
        await self._merger.post([EncodedMessage(json.dumps(job(number)).encode())])

    async def _add(self, jobs: Sequence[bytes]) -> list[str]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for one in jobs:
                pipeline.xadd(STREAM, {"job": one})
            return list(await pipeline.execute())

    async def claim(self, most: int) -> list[Claimed]:
        claim = await self._claims.claim(Terms(most, 0, None, attributes=False))
        if claim is None:
            return []
        return [Claimed(message.id, message.body) for message in claim.messages]

    async def _read(self, terms: Terms, count: int) -> list[Claim]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for _ in range(count):
                pipeline.xreadgroup(GROUP, CONSUMER, NEW, count=terms.limit)
            answers = await pipeline.execute()
        together = [
            [Message(id=one.handle, body=one.job, ttl=0, age=0) for one in _entries(found)]
            for found in answers
        ]
        return [Claim(id="", ttl=0, age=0, messages=part) for part in together if part]

    async def _keep(self, _claim: str) -> None:
        """Nobody goes before he has his answer."""


def _entries(found: Any) -> list[Claimed]:
    """What was read; its shape depends on the protocol."""
    if isinstance(found, dict):
        parts = found.get(STREAM.encode(), [])
    else:
        parts = [entries for _, entries in found]
    return [Claimed(entry, json.loads(fields[b"job"])) for part in parts for entry, fields in part]


@asynccontextmanager
async def _streams(
    directory: Path, sync: str, kind: type[Streams] = Streams
) -> AsyncIterator[Streams]:
    home = directory / f"redis-{sync}"
    home.mkdir()
    port = free_port()
    command = [
        *("redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", sync),
    ]
    with running("redis", command, port=port, directory=home) as process:
        async with Redis(
            host="127.0.0.1", port=port, max_connections=IN_FLIGHT + CLAIMERS
        ) as redis:
            peer = kind(process, redis, sync)
            await peer.open()
            yield peer


everysec = partial(_streams, sync="everysec")
always = partial(_streams, sync="always")
pipelined = partial(_streams, sync="always", kind=Together)
