"""The time of one request at one connection, beside the embedded store and the store alone.

A node on a shared store does what the node on SQLite does, and asks the store instead of a
file. So its median may exceed that of SQLite by no more than the store's own client needs for
the same, and half as much again.
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import servers
from benchmarks.cycle import in_turns
from benchmarks.figures import Figure, at_most
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.sides import OPERATIONS, ByApi, ByClient, Side
from benchmarks.wire import Connection

BOUND = 1.5
"""Times the raw client's median, beyond the median on SQLite."""
_WARM_UP = 10


def latency(bench: StoreBench) -> Iterator[Figure]:
    """Post 1, 10 and 100, claim 10, delete 1 and 10 on each side, in turns."""
    with ExitStack() as stack:
        [node] = stack.enter_context(bench.nodes("latency"))
        embedded = stack.enter_context(servers.nuska(bench.fresh("embedded"), name="embedded"))
        ours = ByApi(stack.enter_context(Connection(node.port)))
        sqlite = ByApi(stack.enter_context(Connection(embedded.port)))
        clients = [bench.run(bench.engine.raw(f"raw-{use}")) for use in ("turns", "kept")]
        for client in clients:
            stack.callback(lambda client=client: bench.run(client.close()))
        raw = ByClient(*clients, bench.run)
        sides: list[ByApi | ByClient] = [ours, sqlite, raw]
        in_turns([side.block for side in sides], rounds=_WARM_UP)
        for side in sides:
            side.forget()
        in_turns([side.block for side in sides], rounds=bench.turns)
    for operation in OPERATIONS:
        yield _figure(operation, ours, sqlite, raw)


def _figure(operation: str, ours: Side, sqlite: Side, raw: Side) -> Figure:
    node, embedded, floor = (
        statistics.median(side.taken[operation]) * 1000 for side in (ours, sqlite, raw)
    )
    return Figure(
        phase="latency",
        name=f"{operation}: beyond SQLite, beside the raw client",
        value=(node - embedded) / floor,
        unit="×",
        target=at_most(BOUND),
        note=f"median {node:.2f} ms; SQLite {embedded:.2f} ms; raw {floor:.2f} ms",
    )
