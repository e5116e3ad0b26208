"""beanstalkd through greenstalk, whose calls wait for their answers one by one."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import greenstalk

from benchmarks.peers.peer import Claimed, job
from benchmarks.processes import Process, free_port, running

HELD = 600
"""Seconds for which a job is the worker's."""


class Beanstalkd:
    name = "beanstalkd"
    durability = "write-ahead log, synced with each write"
    in_flight = 1
    claimers = 1

    def __init__(
        self, process: Process, producer: greenstalk.Client, worker: greenstalk.Client
    ) -> None:
        self._process = process
        self._producer = producer
        self._worker = worker

    def pids(self) -> list[int]:
        return self._process.pids

    async def post(self, number: int) -> None:
        self._producer.put(json.dumps(job(number)), ttr=HELD)

    async def claim(self, most: int) -> list[Claimed]:
        claimed: list[Claimed] = []
        with suppress(greenstalk.TimedOutError):
            while len(claimed) < most:
                found = self._worker.reserve(timeout=0)
                claimed.append(Claimed(found, json.loads(found.body)))
        return claimed

    async def delete(self, claimed: list[Claimed]) -> None:
        for one in claimed:
            self._worker.delete(one.handle)

    async def settled(self) -> None:
        """Each delete was."""


@asynccontextmanager
async def beanstalkd(directory: Path) -> AsyncIterator[Beanstalkd]:
    home = directory / "beanstalkd"
    home.mkdir()
    port = free_port()
    command = ["beanstalkd", "-l", "127.0.0.1", "-p", str(port), "-b", str(home), "-f0"]
    with running("beanstalkd", command, port=port, directory=home) as process:
        address = ("127.0.0.1", port)
        with greenstalk.Client(address) as producer, greenstalk.Client(address) as worker:
            yield Beanstalkd(process, producer, worker)
