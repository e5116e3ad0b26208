"""``python -m benchmarks.zaqar``: the same jobs on Nuska and on Zaqar, taking turns.

One load generator, the same scripts, bodies and connections. A responder that reads nothing
shows that the generator itself is no limit. Exit status 1 when a target is missed.
"""

import argparse
import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
from rich.console import Console

from benchmarks import reference, servers
from benchmarks.__main__ import PATIENCE, PATIENCE_HELP, PIPED_WIDTH, RESULTS
from benchmarks.bench import Bench
from benchmarks.figures import Figure, at_least, ratio_of_rounds
from benchmarks.filling import BODY
from benchmarks.machine import describe
from benchmarks.phases.throughput import Poster, Worker
from benchmarks.processes import Process
from benchmarks.report import finished, print_table, write_results
from benchmarks.rounds import Patience, rates, told
from benchmarks.wire import PRODUCER, PROJECT
from benchmarks.wrk import Load

CACHE = Path(".cache") / "bench-zaqar"
POST_TARGET = 10.0
BATCH_TARGET = 5.0
WORK_TARGET = 10.0
HEADROOM = 3.0
"""How much faster than the fastest server measured the load generator must be."""
BATCH = 10
CONNECTIONS = 32
ABOUT = (
    "Nuska: one process, `nuska serve` as it comes, every write on disk before it is answered.",
    f"wrk, one thread, {CONNECTIONS} connections, on the same cores; sides take turns and a "
    "ratio is the median of the ratios of neighbouring rounds.",
)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m benchmarks.zaqar", description=__doc__)
    options.add_argument("--quick", action="store_true", help="short rounds, rough figures")
    options.add_argument("--patience", type=float, default=PATIENCE, help=PATIENCE_HELP)
    options.add_argument("--cache", type=Path, default=CACHE, help="the reference's environment")
    options.add_argument("--out", type=Path, default=None, help=f"default {RESULTS}")
    given = options.parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=PIPED_WIDTH)
    given.cache.mkdir(parents=True, exist_ok=True)
    python = reference.environment(given.cache, console.log)
    directory = Path(tempfile.mkdtemp(prefix="run-", dir=given.cache)).resolve()
    began, machine = datetime.now(UTC), describe(directory)
    bench = Bench(directory, quick=given.quick, patience=Patience(given.patience), say=console.log)
    try:
        with (
            servers.nuska(bench.fresh("nuska-data")) as nuska,
            reference.zaqar(python, directory) as zaqar,
            console.status("measuring"),
        ):
            figures = list(_compare(bench, nuska, zaqar))
    finally:
        shutil.rmtree(directory)
    run = finished(
        title="Nuska beside Zaqar",
        began=began,
        quick=given.quick,
        machine=machine,
        about=[reference.describe(), *ABOUT],
        figures=figures,
    )
    print_table(run, console)
    out = given.out or (given.cache / "results" if given.quick else RESULTS)
    for path in write_results(run, out, "zaqar"):
        console.print(f"wrote {path}", style="dim")
    return int(bool(run.missed))


def _compare(bench: Bench, nuska: Process, zaqar: Process) -> Iterator[Figure]:
    for count, target, what in (
        (1, POST_TARGET, "single posts"),
        (BATCH, BATCH_TARGET, f"messages posted at {BATCH} a request"),
    ):
        bench.say(what)
        with servers.canned(bench.directory, count=count) as canned:
            posters = [
                Poster(bench, server, queue=f"by-{count}", count=count)
                for server in (nuska, zaqar, canned)
            ]
            for poster in posters:
                poster.warm_up()
            ours, theirs, ceiling = bench.compared(*(poster.round for poster in posters))
        posters[0].check_stored()
        yield from _figures(what, target, ours, theirs, ceiling, per_request=count)
    bench.say("claims and deletes")
    with servers.canned(bench.directory) as canned:
        workers = [
            *(Worker(bench, server) for server in (nuska, zaqar)),
            Worker(bench, canned, endless=True),
        ]
        for worker in workers:
            worker.round()
        sides = bench.compared(*(worker.round for worker in workers))
    yield from _figures("messages claimed and deleted by tens", WORK_TARGET, *sides)
    bench.say("a client in Python")
    yield from _python_client(bench, nuska, zaqar)


def _figures(
    what: str,
    target: float,
    ours: list[Load],
    theirs: list[Load],
    ceiling: list[Load],
    *,
    per_request: int | None = None,
) -> Iterator[Figure]:
    def messages(loads: list[Load]) -> list[float]:
        if per_request is None:
            return [load.claimed_per_second for load in loads]
        return [rate * per_request for rate in rates(loads)]

    yield Figure(
        phase=what,
        name=f"{what}, beside Zaqar",
        value=ratio_of_rounds(messages(ours), messages(theirs)),
        unit="×",
        target=at_least(target),
        note=f"{statistics.median(messages(ours)):,.0f}/s, beside "
        f"{statistics.median(messages(theirs)):,.0f}/s; Nuska {told(ours)}; Zaqar {told(theirs)}",
    )
    yield Figure(
        phase=what,
        name="  the load generator, beside Nuska",
        value=ratio_of_rounds(rates(ceiling), rates(ours)),
        unit="×",
        target=at_least(HEADROOM),
        note=told(ceiling),
    )


def _python_client(bench: Bench, nuska: Process, zaqar: Process) -> Iterator[Figure]:
    """What an aiohttp client gets; it is the slower side of every one of these rates."""
    ours, theirs = [], []
    for _ in range(bench.rounds):
        ours.append(asyncio.run(_client_rate(nuska, bench.seconds)))
        theirs.append(asyncio.run(_client_rate(zaqar, bench.seconds)))
    yield Figure(
        phase="python",
        name=f"single posts by a Python client, {CONNECTIONS} tasks, beside Zaqar",
        value=ratio_of_rounds(ours, theirs),
        unit="×",
        note=f"{statistics.median(ours):,.0f}/s, beside {statistics.median(theirs):,.0f}/s",
    )


async def _client_rate(server: Process, seconds: float) -> float:
    document = {"messages": [{"ttl": 3600, "body": BODY}]}
    headers = {"Client-ID": PRODUCER, "X-Project-Id": PROJECT}
    url = f"{server.url}/v2/queues/python/messages"
    done = 0
    async with aiohttp.ClientSession(headers=headers) as session:
        began = time.perf_counter()

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() - began < seconds:
                async with session.post(url, json=document) as answer:
                    answer.raise_for_status()
                    await answer.read()
                done += 1

        await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))
        return done / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
