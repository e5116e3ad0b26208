"""Whether the cost of a request grows with what the queue, or the server, already holds.

Every state has its own store and its own server; they are measured in turns, one request at a
time, so that only the state differs.
"""

import statistics
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import filling, servers
from benchmarks.bench import MILLION_QUEUE, Bench
from benchmarks.cycle import OPERATIONS, Cycle, in_turns
from benchmarks.figures import Figure, at_most, counted
from benchmarks.states import (
    SHALLOW,
    State,
    claimed_ahead,
    delayed_ahead,
    many_queues,
    queue_name,
    waiting,
)
from benchmarks.wire import Connection

BOUND = 1.3
"""Median time of an operation, beside the shallowest state."""
_BASE = f"{counted(SHALLOW)} waiting"
TURNS_AT_ONCE = 4


def depth(bench: Bench) -> Iterator[Figure]:
    """Post, list and claim with 10², 10⁴, 10⁶ waiting, and with 10⁵ in flight at the head."""
    deeper, in_flight = bench.scaled(10_000), bench.scaled(100_000)
    states: dict[str, Path] = {
        _BASE: _filled(bench, "shallow", waiting(SHALLOW)),
        f"{counted(deeper)} waiting": _filled(bench, "deeper", waiting(deeper)),
        f"{counted(bench.million.count)} waiting": bench.copy_of_million("deep"),
        f"{counted(in_flight)} claimed ahead": _filled(bench, "claimed", claimed_ahead(in_flight)),
        f"{counted(in_flight)} delayed ahead": _filled(bench, "delayed", delayed_ahead(in_flight)),
    }
    with ExitStack() as stack:
        cycles = {}
        for name, data in states.items():
            server = stack.enter_context(servers.nuska(data, name=data.name))
            connection = stack.enter_context(Connection(server.port))
            cycles[name] = Cycle(connection, MILLION_QUEUE)
        sides = [block(cycle) for cycle in cycles.values()]
        in_turns(sides, rounds=5)
        for cycle in cycles.values():
            cycle.forget()
        in_turns(sides, rounds=20 if bench.quick else 150)
    base = cycles.pop(_BASE)
    for name, cycle in cycles.items():
        for operation in OPERATIONS:
            yield _beside(base, cycle, operation, f"{operation}: {name}, beside {_BASE}")


def queues(bench: Bench) -> Iterator[Figure]:
    """Post and claim with 10 and with 100 000 queues, a different one each time."""
    counts = (10, bench.scaled(100_000))
    states = {count: _filled(bench, f"queues-{count}", many_queues(count)) for count in counts}
    with ExitStack() as stack:
        walks = []
        for count, data in states.items():
            server = stack.enter_context(servers.nuska(data, name=data.name))
            connection = stack.enter_context(Connection(server.port))
            walks.append(Walk(connection, count))
        sides = [walk.step for walk in walks]
        in_turns(sides, rounds=30)
        for walk in walks:
            walk.forget()
        in_turns(sides, rounds=100 if bench.quick else 700)
    few, many = walks
    for operation in ("post", "claim"):
        yield medians_beside(
            "queues",
            f"{operation}: {counted(counts[1])} queues, beside {counts[0]} queues",
            many.taken[operation],
            few.taken[operation],
        )


class Walk:
    """Posts to and claims from queue after queue, spread over all of them."""

    _STRIDE = 7919
    """A prime: consecutive steps touch distant queues, and every queue in the end."""

    def __init__(self, connection: Connection, count: int) -> None:
        self.taken: dict[str, list[float]] = {}
        self._connection = connection
        self._count = count
        self._at = 0

    def step(self) -> None:
        for _ in range(TURNS_AT_ONCE):
            self._at = (self._at + self._STRIDE) % self._count
            cycle = Cycle(self._connection, queue_name(self._at))
            cycle.turn()
            for operation, taken in cycle.taken.items():
                self.taken.setdefault(operation, []).extend(taken)

    def forget(self) -> None:
        self.taken.clear()


def block(cycle: Cycle) -> Callable[[], None]:
    """A few turns in a row: what is measured is a server at work, not one waking up."""

    def turns() -> None:
        for _ in range(TURNS_AT_ONCE):
            cycle.turn()

    return turns


def _beside(base: Cycle, cycle: Cycle, operation: str, name: str) -> Figure:
    return medians_beside("depth", name, cycle.taken[operation], base.taken[operation])


def medians_beside(phase: str, name: str, taken: list[float], base: list[float]) -> Figure:
    ours, theirs = statistics.median(taken), statistics.median(base)
    return Figure(
        phase=phase,
        name=name,
        value=ours / theirs,
        unit="×",
        target=at_most(BOUND),
        note=f"median {ours * 1000:.2f} ms, beside {theirs * 1000:.2f} ms",
    )


def _filled(bench: Bench, name: str, state: State) -> Path:
    data = bench.fresh(name)
    bench.say(f"preparing {name}")
    filling.in_store(data, state)
    return data
