"""``python -m benchmarks.hearing``: what nodes of a Redis store spend on hearing of each other.

A process tells of messages in many queues, in turn, as a busy node does; another one listens, to
everything, to a share of the queues, or to nothing. Both are the driver alone, without clients,
so this is the cost of hints and of nothing else. Prints CPU time for each message told.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.__main__ import PIPED_WIDTH
from benchmarks.processes import cpu_seconds
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Moment
from nuska.interfaces.storage import StoreOptions
from nuska.stores.redis.hints import QUEUES_AT_ONCE
from nuska.stores.redis.store import RedisStore, open_redis
from nuska.testing.redis_server import IN_MEMORY, RedisServer, redis_server

QUEUES = 10_000
MESSAGES = 40_000
TOGETHER = 8
"""Messages that a busy node takes in while a hint is on its way."""
EVERYTHING = -1
WANTED = (EVERYTHING, QUEUES, QUEUES // 10, QUEUES // 100, 0)


class Cost(Struct, frozen=True):
    """Microseconds of CPU for each message told."""

    listener: float
    teller: float
    server: float


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.hearing", description=__doc__)
    options.add_argument("--messages", type=int, default=MESSAGES)
    options.add_argument("--listen", metavar="URL", help=argparse.SUPPRESS)
    options.add_argument("--wanted", type=int, default=EVERYTHING, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.listen:
        asyncio.run(listen(given.listen, given.wanted))
        return 0
    table = Table("the listener wants", "listener, µs", "teller, µs", "server, µs")
    with (
        tempfile.TemporaryDirectory() as directory,
        redis_server(Path(directory), IN_MEMORY) as server,
    ):
        for wanted in WANTED:
            cost = measured(server, wanted, given.messages)
            row = (cost.listener, cost.teller, cost.server)
            table.add_row(_words(wanted), *(f"{micros:.1f}" for micros in row))
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    console.print(table)
    return 0


def _words(wanted: int) -> str:
    return "everything" if wanted == EVERYTHING else f"{wanted:,} of {QUEUES:,} queues"


def measured(server: RedisServer, wanted: int, messages: int) -> Cost:
    server_pid = int(_field(server, "process_id"))
    with listener(server.url, wanted) as hearing:
        pids = (hearing.pid, os.getpid(), server_pid)
        before = [cpu_seconds([pid]) for pid in pids]
        asyncio.run(tell(server.url, messages))
        hears_of_any(hearing)
        after = [cpu_seconds([pid]) for pid in pids]
    used = [(late - early) / messages * 1e6 for early, late in zip(before, after, strict=True)]
    return Cost(*used)


def _field(server: RedisServer, name: str) -> str:
    lines = server.ask_all("INFO", "server").split("\r\n")
    return next(line.partition(":")[2] for line in lines if line.startswith(f"{name}:"))


@contextmanager
def listener(url: str, wanted: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens."""
    command = [sys.executable, "-m", "benchmarks.hearing", "--listen", url]
    with subprocess.Popen([*command, "--wanted", str(wanted)], stdout=subprocess.PIPE) as process:
        try:
            hears_of_any(process)
            yield process
        finally:
            process.terminate()


def hears_of_any(listener: subprocess.Popen[bytes]) -> None:
    """Until it does."""
    assert listener.stdout is not None
    if not listener.stdout.readline():
        raise RuntimeError("the listener ended")


async def listen(url: str, wanted: int) -> None:
    """Until terminated. Prints a line when any queue may have something."""
    store = await opened(url)
    if wanted != EVERYTHING:
        for number in range(wanted):
            store.heed(_queue(number))
        store.disregard(None)

    def hear(queue: QueueRef | None, _: int) -> None:
        if queue is None:  # at the beginning, and at the end
            print("any queue may have something", flush=True)

    await store.hear_others(hear)


async def tell(url: str, messages: int) -> None:
    """Of queues in turn, a few at a time, and at the end of any queue."""
    store = await opened(url)
    for first in range(0, messages, TOGETHER):
        for number in range(first, first + TOGETHER):
            store.tell(_queue(number % QUEUES), 1)
        await store.time()  # which is answered after what was told before
    for number in range(2 * QUEUES_AT_ONCE):  # for everybody: so the listener has heard the rest
        store.tell(_queue(number), 1)
    await store.close()


def _queue(number: int) -> QueueRef:
    return QueueRef("acme", f"device-{number}")


async def opened(url: str) -> RedisStore:
    now = Moment(time.time_ns() // 1_000_000)
    options = StoreOptions(url=url, data_dir="", now=now, random_bytes=os.urandom)
    return await open_redis(options)


if __name__ == "__main__":
    sys.exit(main())
