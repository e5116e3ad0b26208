"""NATS JetStream through nats-py: a work queue in file storage, deletes acknowledged by it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
from nats.errors import TimeoutError as NothingThere
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType

from benchmarks.peers.peer import IN_FLIGHT, Claimed, job
from benchmarks.processes import Process, free_port, running

CLAIMERS = 16
FETCH_WITHIN = 5.0
ANSWERS_WITHIN = 60.0
"""Seconds; its client would give up after one, which a busy machine may take."""
HELD = 600
"""Seconds for which a job is the worker's."""
NO_LIMIT = -1


class JetStream:
    name = "NATS JetStream"
    durability = "file storage, acknowledged when written; synced every two minutes"
    in_flight = IN_FLIGHT
    claimers = CLAIMERS

    def __init__(
        self, process: Process, producer: JetStreamContext, worker: JetStreamContext
    ) -> None:
        self._process = process
        self._producer = producer
        self._worker = worker
        self._pulls: list[JetStreamContext.PullSubscription] = []

    def pids(self) -> list[int]:
        return self._process.pids

    async def open(self) -> None:
        await self._worker.add_stream(
            name="jobs",
            subjects=["jobs"],
            storage=StorageType.FILE,
            retention=RetentionPolicy.WORK_QUEUE,
        )
        terms = ConsumerConfig(ack_wait=HELD, max_ack_pending=NO_LIMIT)
        for _ in range(CLAIMERS):
            pull = await self._worker.pull_subscribe("jobs", durable="worker", config=terms)
            self._pulls.append(pull)

    async def post(self, number: int) -> None:
        await self._producer.publish("jobs", json.dumps(job(number)).encode())

    async def claim(self, most: int) -> list[Claimed]:
        pull = self._pulls.pop()
        try:
            found = await pull.fetch(most, timeout=FETCH_WITHIN)
            return [Claimed(message, json.loads(message.data)) for message in found]
        except NothingThere:
            return []
        finally:
            self._pulls.append(pull)

    async def delete(self, claimed: list[Claimed]) -> None:
        await asyncio.gather(*(one.handle.ack_sync(ANSWERS_WITHIN) for one in claimed))

    async def settled(self) -> None:
        """Each delete was."""


@asynccontextmanager
async def jetstream(directory: Path) -> AsyncIterator[JetStream]:
    home = directory / "nats"
    home.mkdir()
    port = free_port()
    command = ["nats-server", "-js", "-sd", str(home), "-a", "127.0.0.1", "-p", str(port)]
    with running("nats", command, port=port, directory=home) as process:
        url = f"nats://127.0.0.1:{port}"
        producer, worker = await nats.connect(url), await nats.connect(url)
        try:
            peer = JetStream(
                process,
                producer.jetstream(timeout=ANSWERS_WITHIN),
                worker.jetstream(timeout=ANSWERS_WITHIN),
            )
            await peer.open()
            yield peer
        finally:
            await producer.close()
            await worker.close()
