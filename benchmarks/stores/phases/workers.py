"""One node and two on one store: who uses the cores, and what the limit is.

The load generator, the nodes and the store share the machine, so that a second node can use
only what the others leave.
"""

import os
import statistics
from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure, ratio_of_rounds
from benchmarks.processes import Process
from benchmarks.rounds import rates
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.loads import STORE, Backlog, Spread, limit, shares
from benchmarks.wrk import Load

CONNECTIONS = 64
ONE_THREAD_STORES = ("redis",)


def workers(bench: StoreBench) -> Iterator[Figure]:
    """Posts, and claim 10 + delete 10, through one node and through two, in turns."""
    with bench.nodes("workers", 2) as nodes:
        one = Spread(bench, nodes[:1], watched=nodes[1:], connections=CONNECTIONS)
        two = Spread(bench, nodes, connections=CONNECTIONS)
        two.post("posts", queues=CONNECTIONS)  # a warm-up
        by_one, by_two = bench.compared(
            lambda: one.post("posts", queues=CONNECTIONS),
            lambda: two.post("posts", queues=CONNECTIONS),
        )
        posted = [rates(by_one), rates(by_two)]
        yield from _figures(bench, "posts", nodes, (by_one, by_two), posted)
        backlog = Backlog(bench, "work")
        by_one, by_two = bench.compared(
            lambda: backlog.round(one, nodes[0]), lambda: backlog.round(two, nodes[0])
        )
        worked = [[load.claimed_per_second for load in loads] for loads in (by_one, by_two)]
        what = "messages claimed and deleted by tens"
        yield from _figures(bench, what, nodes, (by_one, by_two), worked)


def _figures(
    bench: StoreBench,
    what: str,
    nodes: Sequence[Process],
    loads: tuple[list[Load], list[Load]],
    found: Sequence[Sequence[float]],
) -> Iterator[Figure]:
    yield Figure(
        phase="workers",
        name=f"{what}, two nodes beside one",
        value=ratio_of_rounds(found[1], found[0]),
        unit="×",
    )
    alone = [STORE] if bench.name in ONE_THREAD_STORES else []
    for count in (1, 2):
        side, names = loads[count - 1], [node.name for node in nodes[:count]]
        cores = len(os.sched_getaffinity(0))
        yield Figure(
            phase="workers",
            name=f"  {what}, {count} node{'s' * (count > 1)}",
            value=statistics.median(found[count - 1]),
            unit="/s",
            note=f"cores: {shares(side)}; limit: {limit(side, cores, one_thread=names + alone)}",
        )
