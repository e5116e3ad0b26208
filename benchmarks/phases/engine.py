"""The store alone, in this process: what is left of a figure when HTTP is taken away.

No targets: it tells whether time goes to the store or to what stands before it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from benchmarks import filling
from benchmarks.bench import Bench
from benchmarks.figures import Figure
from nuska.domain.messages import QueueRef
from nuska.domain.moments import seconds
from nuska.interfaces.storage import Store

JOBS = QueueRef("bench", "jobs")
CALLERS = (1, 32, 256)
CLAIM_SIZE = 10


def store(bench: Bench) -> Iterator[Figure]:
    """Adds, and claim 10 + delete 10, by 1, 32 and 256 callers at once."""
    rates: dict[str, float] = {}

    async def measure(opened: Store) -> None:
        for callers in CALLERS:
            name = f"adds of one message, {callers} at once"
            rates[name] = await _rate(_add(opened, 1), callers, bench.seconds)
        rates["messages added a hundred at a time, 32 at once"] = 100 * await _rate(
            _add(opened, 100), 32, bench.seconds
        )
        await filling.together(iter([_add(opened, 100)() for _ in range(bench.scaled(5_000))]))
        rates["messages claimed and deleted by tens, 32 at once"] = CLAIM_SIZE * await _rate(
            _claim_and_delete(opened), 32, bench.seconds / 2
        )

    filling.in_store(bench.fresh("store"), measure)
    for name, rate in rates.items():
        yield Figure(phase="store", name=name, value=rate, unit="/s", note="in process, no HTTP")


def _add(store: Store, count: int) -> Callable[[], Awaitable[object]]:
    messages = [filling.small()] * count
    return lambda: store.messages.add(JOBS, messages, now=filling.wall_clock())


def _claim_and_delete(store: Store) -> Callable[[], Awaitable[object]]:
    serial = iter(range(1 << 60))

    async def cycle() -> None:
        claimed = await store.claims.create(
            JOBS,
            claim_id=f"{next(serial):024x}",
            limit=CLAIM_SIZE,
            ttl=seconds(300),
            grace=seconds(60),
            now=filling.wall_clock(),
        )
        if not claimed.messages:
            raise RuntimeError("the backlog ran out")
        ids = [message.id for message in claimed.messages]
        await store.messages.delete_many(JOBS, ids, now=filling.wall_clock())

    return cycle


async def _rate(call: Callable[[], Awaitable[object]], callers: int, length: float) -> float:
    """Calls a second, by so many callers that each wait for their answer."""
    done = 0
    began = time.perf_counter()
    end = began + length

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < end:
            await call()
            done += 1

    await asyncio.gather(*(caller() for _ in range(callers)))
    return done / (time.perf_counter() - began)
