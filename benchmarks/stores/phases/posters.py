"""Many posters at one queue, beside as many at a queue each.

The posts of a queue get their places one after the other; what keeps its rate up is that a
node groups those which wait together, and tries again when another node was at the queue.
"""

import statistics
from collections.abc import Iterator
from functools import partial

from benchmarks.figures import Figure, at_least, ratio_of_rounds
from benchmarks.rounds import rates
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.loads import CONNECTIONS, Spread, shares
from benchmarks.wrk import Load

TARGET = 0.5
NODES = (1, 3)


def posters(bench: StoreBench) -> Iterator[Figure]:
    """32 posters to one queue and to 32, through one node and through three."""
    for count in NODES:
        with bench.nodes(f"posters-{count}", count) as nodes:
            spread = Spread(bench, nodes)
            one = partial(spread.post, "one", queues=1)
            many = partial(spread.post, "each")
            one(), many()  # a warm-up
            to_one, to_many = bench.compared(one, many)
            grouped = _grouping(bench, one), _grouping(bench, many)
        if count == max(NODES):
            bench.costs.one_queue_per_second = statistics.median(rates(to_one))
        through = f"{count} node{'s' * (count > 1)}"
        yield Figure(
            phase="posters",
            name=f"{CONNECTIONS} posters to one queue, beside {CONNECTIONS} queues, {through}",
            value=ratio_of_rounds(rates(to_one), rates(to_many)),
            unit="×",
            target=at_least(TARGET),
            note=f"{statistics.median(rates(to_one)):,.0f}/s ({grouped[0]}; {shares(to_one)}), "
            f"beside {statistics.median(rates(to_many)):,.0f}/s ({grouped[1]}; {shares(to_many)})",
        )


def _grouping(bench: StoreBench, run: "partial[Load]") -> str:
    """How many posts shared a step of the store, in a run of their own."""
    before = bench.run(bench.engine.steps())
    load = run()
    after = bench.run(bench.engine.steps())
    steps = {name: count - before[name] for name, count in after.items()}
    [name, taken], *others = steps.items()
    told = [f"{taken / load.report.requests:.2f} {name} a post"]
    told += [f"{count:,.0f} {name}" for name, count in others if count]
    return ", ".join(told)
