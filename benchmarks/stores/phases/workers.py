"""One worker and two on one store: who uses the cores, and what the limit is.

The load generator, the workers and the store share the machine, so that a second worker can
use only what the others leave.
"""

import os
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, ratio_of_rounds
from benchmarks.rounds import rates
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.loads import STORE, Backlog, Spread, limit, shares
from benchmarks.wrk import Load

CONNECTIONS = 64
ONE_THREAD_STORES = ("redis",)


def workers(bench: StoreBench) -> Iterator[Figure]:
    """Posts, and claim 10 + delete 10, by ``nuska serve`` and by it with two workers, in turns."""
    url = bench.run(bench.engine.space("workers"))
    with (
        bench.nodes_at(url, "alone") as alone,
        bench.nodes_at(url, "pair", options=("--workers", "2")) as pair,
    ):
        one = Spread(bench, alone, connections=CONNECTIONS)
        two = Spread(bench, pair, connections=CONNECTIONS)
        for spread in (one, two):
            spread.post("posts", queues=CONNECTIONS)  # a warm-up
        posts = bench.compared(
            lambda: one.post("posts", queues=CONNECTIONS),
            lambda: two.post("posts", queues=CONNECTIONS),
        )
        yield from _figures(bench, "posts", posts, [rates(loads) for loads in posts])
        backlog, [node] = Backlog(bench, "work"), alone
        works = bench.compared(lambda: backlog.round(one, node), lambda: backlog.round(two, node))
        worked = [[load.claimed_per_second for load in loads] for loads in works]
        yield from _figures(bench, "messages claimed and deleted by tens", works, worked)


def _figures(
    bench: StoreBench, what: str, sides: Sequence[list[Load]], found: Sequence[Sequence[float]]
) -> Iterator[Figure]:
    yield Figure(
        phase="workers",
        name=f"{what}, two workers beside one",
        value=ratio_of_rounds(found[1], found[0]),
        unit="×",
    )
    cores = len(os.sched_getaffinity(0))
    for number, (loads, rate) in enumerate(zip(sides, found, strict=True), 1):
        one_thread = [name for name in loads[0].cores if name != STORE]
        if bench.name in ONE_THREAD_STORES:
            one_thread.append(STORE)
        yield Figure(
            phase="workers",
            name=f"  {what}, {number} worker{'s' * (number > 1)}",
            value=statistics.median(rate),
            unit="/s",
            note=f"cores: {shares(loads)}; limit: {limit(loads, cores, one_thread=one_thread)}",
        )
