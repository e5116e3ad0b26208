"""RabbitMQ through aio-pika: a durable queue, persistent messages, publisher confirms."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from benchmarks.peers.peer import IN_FLIGHT, Claimed, job
from benchmarks.processes import Process, free_port, running

READY_WITHIN = 120.0
"""Seconds; it takes its time on a busy machine."""
PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"


class RabbitMQ:
    name = "RabbitMQ"
    durability = "durable queue, persistent, posts confirmed; acknowledgements are not"
    in_flight = IN_FLIGHT
    claimers = 1  # jobs are pushed to it, as many as there are

    def __init__(
        self, process: Process, producer: AbstractChannel, worker: AbstractChannel
    ) -> None:
        self._process = process
        self._producer = producer
        self._worker = worker
        self._queue: AbstractQueue
        self._arrived: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._consuming: str | None = None

    def pids(self) -> list[int]:
        return self._process.pids

    async def open(self) -> None:
        self._queue = await self._worker.declare_queue("jobs", durable=True)

    async def post(self, number: int) -> None:
        message = aio_pika.Message(
            json.dumps(job(number)).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        await self._producer.default_exchange.publish(message, routing_key="jobs")

    async def claim(self, most: int) -> list[Claimed]:
        if self._consuming is None:
            self._consuming = await self._queue.consume(self._arrived.put)
        found = [await self._arrived.get()]
        while len(found) < most and not self._arrived.empty():
            found.append(self._arrived.get_nowait())
        return [Claimed(message, json.loads(message.body)) for message in found]

    async def delete(self, claimed: list[Claimed]) -> None:
        # "All up to this one" would take in other claims, and ends the channel when calls that
        # are under way at once come in another order.
        for one in claimed:
            await one.handle.ack()

    async def settled(self) -> None:
        """A channel does one thing after the other: this answer comes after all before it."""
        assert self._consuming is not None
        await self._queue.cancel(self._consuming)
        self._consuming = None
        left = await self._worker.declare_queue("jobs", passive=True)
        if left.declaration_result.message_count:
            raise RuntimeError("acknowledged jobs are still there")


@asynccontextmanager
async def rabbitmq(directory: Path) -> AsyncIterator[RabbitMQ]:
    home = directory / "rabbitmq"
    home.mkdir()
    (home / "plugins").write_text("[].")
    port, names, nodes = free_port(), free_port(), free_port()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names),
        "RABBITMQ_NODENAME": "bench@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(nodes),
        "RABBITMQ_MNESIA_BASE": str(home),
        "RABBITMQ_LOG_BASE": str(home),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none"),
        "RABBITMQ_CONFIG_FILE": str(home / "none"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
    }
    # The register of Erlang nodes is ours, too: the one that a node starts outlives it.
    register = ["epmd", "-port", str(names), "-address", "127.0.0.1"]
    with (
        running("epmd", register, port=names, directory=home, environment=environment),
        running(
            "server",
            [PROGRAM],
            port=port,
            directory=home,
            environment=environment,
            ready_within=READY_WITHIN,
        ) as process,
    ):
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        async with await aio_pika.connect(url) as one, await aio_pika.connect(url) as other:
            producer = await one.channel(publisher_confirms=True)
            peer = RabbitMQ(process, producer, await other.channel())
            await peer.open()
            yield peer
