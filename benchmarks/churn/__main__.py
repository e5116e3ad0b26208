"""``python -m benchmarks.churn``: whether tables stop growing while messages come and go.

Messages are posted, followed, claimed, deleted, popped, released and left to expire at full
speed, for some minutes. The first third of the time tables find their size; the last third they
must take no more room, and claims no more time, than in the second. Exit status 1 when they do.
"""

import argparse
import asyncio
import statistics
import time
from contextlib import suppress

import uvloop
from msgspec import Struct
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.churn.engines import ENGINES, Engine, Table
from benchmarks.churn.load import Load
from nuska.domain.moments import Moment
from nuska.interfaces.announcing import AnnouncingStore
from nuska.testing.opening import open_by_url

SAMPLES = 24
GROWTH_AT_MOST = 1.3
"""Of the largest size in the last third to the largest in the second."""
SLOWER_AT_MOST = 1.5
"""Of claims in the last third to the second, each in round trips of its time."""
ROUND_TRIPS = 5
WIDTH = 150
MEGABYTE = 1e6


class Sample(Struct, frozen=True):
    """One look."""

    at: float
    tables: list[Table]
    claim: float
    """Seconds, the median since the last look."""
    round_trip: float
    posted: int
    gone: int
    heard: int

    @property
    def bytes(self) -> int:
        return sum(table.bytes for table in self.tables)

    @property
    def dead(self) -> int:
        return sum(table.dead for table in self.tables)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.churn", description=__doc__)
    options.add_argument("--store", choices=list(ENGINES), default="postgresql")
    options.add_argument("--minutes", type=float, default=6.0)
    given = options.parse_args()
    console = Console(width=WIDTH)
    with ENGINES[given.store]() as engine:
        samples = uvloop.run(_measure(engine, given.minutes * 60, console))
    return _verdict(samples, console)


async def _measure(engine: Engine, seconds: float, console: Console) -> list[Sample]:
    console.print(f"{engine.about}; {seconds / 60:.1f} minutes of churn")
    store = await open_by_url(engine.url)
    if not isinstance(store, AnnouncingStore):
        raise TypeError("churn is for stores that keep announcement logs")
    load = Load(store, _wall_clock)
    running = asyncio.create_task(load.run())
    samples: list[Sample] = []
    began = time.monotonic()
    try:
        for number in range(1, SAMPLES + 1):
            due = began + seconds * number / SAMPLES
            await asyncio.wait([running], timeout=max(0.0, due - time.monotonic()))
            if running.done():
                break
            samples.append(await _look(engine, load, time.monotonic() - began))
            last = samples[-1]
            console.print(
                f"{last.at:6.0f} s  {last.bytes / MEGABYTE:7.1f} MB  {last.dead:8} dead rows  "
                f"claim {last.claim * 1000:6.2f} ms (round trip {last.round_trip * 1000:.2f} ms)  "
                f"{last.gone:8} of {last.posted:8} gone, {last.heard:8} heard"
            )
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await store.close()
    return samples


async def _look(engine: Engine, load: Load, at: float) -> Sample:
    claims, load.claim_seconds = load.claim_seconds, []
    trips = [await engine.round_trip() for _ in range(ROUND_TRIPS)]
    return Sample(
        at,
        await engine.tables(),
        statistics.median(claims) if claims else float("inf"),
        statistics.median(trips),
        load.posted,
        load.gone,
        load.heard,
    )


def _verdict(samples: list[Sample], console: Console) -> int:
    third = len(samples) // 3
    second, last = samples[third : 2 * third], samples[2 * third :]
    printed = Printed("table", "data", "indexes", "dead rows", title="At the end")
    for table in samples[-1].tables:
        printed.add_row(
            table.name,
            f"{table.data / MEGABYTE:.1f} MB",
            f"{table.indexes / MEGABYTE:.1f} MB",
            str(table.dead),
        )
    console.print(printed)
    growth = max(one.bytes for one in last) / max(one.bytes for one in second)
    slower = _cost(last) / _cost(second)
    console.print(
        f"the last third beside the second: {growth:.2f}× the room (at most {GROWTH_AT_MOST}), "
        f"{slower:.2f}× the time of a claim (at most {SLOWER_AT_MOST})"
    )
    return int(growth > GROWTH_AT_MOST or slower > SLOWER_AT_MOST)


def _cost(samples: list[Sample]) -> float:
    """A claim in round trips of the same moments: what the machine does besides slows both."""
    return statistics.median(one.claim for one in samples) / statistics.median(
        one.round_trip for one in samples
    )


def _wall_clock() -> Moment:
    return Moment(time.time_ns() // 1_000_000)


if __name__ == "__main__":
    raise SystemExit(main())
