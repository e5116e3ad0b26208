"""Load on several nodes at once, with the CPU share of every process told apart."""

import statistics
from collections.abc import Sequence

from benchmarks import filling, wrk
from benchmarks.phases.throughput import stored
from benchmarks.processes import Process
from benchmarks.rounds import CALM
from benchmarks.stores.bench import StoreBench
from benchmarks.wrk import Load, Pids, Target

CONNECTIONS = 32
CLAIM_SIZE = 10
STORE = "store"
_NEARLY_A_CORE = 0.9
_NEARLY_ALL = 0.93
_MUCH = 0.5
"""Cores of others beside which a limit says nothing."""


class Spread:
    """Posters, and workers, on ``nodes``: each node has its share of the connections."""

    def __init__(
        self,
        bench: StoreBench,
        nodes: Sequence[Process],
        *,
        watched: Sequence[Process] = (),
        connections: int = CONNECTIONS,
    ) -> None:
        """``watched`` are further nodes whose CPU time is told, and which get no load. Of a
        node with workers each of them is told apart."""
        self._bench = bench
        self._nodes = nodes
        each, more = divmod(connections, len(nodes))
        self._shares = [each + (number < more) for number in range(len(nodes))]
        self._watched: dict[str, Pids] = {}
        for node in [*nodes, *watched]:
            self._watched |= _processes_of(node)
        self._watched[STORE] = bench.engine.pids

    def post(self, name: str, *, count: int = 1, queues: int | None = None) -> Load:
        """``count`` messages a request; every poster has a queue of its own, or ``queues`` in
        all, which every node posts to."""
        targets, first = [], 0
        for node, share in zip(self._nodes, self._shares, strict=True):
            spread = (count, first, share) if queues is None else (count, 0, queues)
            targets.append(Target(f"{node.url}/v2/queues/{name}", share, spread))
            first += share
        return self._run("spread", targets)

    def work(self, name: str, *, queues: int = CONNECTIONS) -> Load:
        """Claim ten and delete the ten, over ``queues``."""
        targets = [
            Target(f"{node.url}/v2/queues/{name}", share, (CLAIM_SIZE, queues))
            for node, share in zip(self._nodes, self._shares, strict=True)
        ]
        return self._run("work", targets)

    def _run(self, script: str, targets: Sequence[Target]) -> Load:
        return wrk.run_together(script, targets, watched=self._watched, seconds=self._bench.seconds)


def _processes_of(node: Process) -> dict[str, Pids]:
    first, *workers = node.pids
    if not workers:
        return {node.name: lambda: [first]}
    return {f"worker {number}": (lambda pid=pid: [pid]) for number, pid in enumerate(workers, 1)}


class Backlog:
    """Queues that workers empty: filled so that each outlasts a round."""

    _MARGIN = 1.5
    _FIRST_GUESS = 4000.0
    """Messages a second, before anything is known; a round that runs dry is repeated."""

    def __init__(self, bench: StoreBench, name: str, *, queues: int = CONNECTIONS) -> None:
        self._bench = bench
        self._name = name
        self._queues = queues
        self._expected = self._FIRST_GUESS

    def round(self, spread: Spread, node: Process) -> Load:
        """A round that did not run dry; ``node`` is asked how much is there."""
        while True:
            self._top_up(node)
            load = spread.work(self._name, queues=self._queues)
            dry = any(not stored(node, name) for name in self._names())
            self._expected = load.claimed_per_second
            if not dry:
                return load
            self._expected *= 2

    def _names(self) -> list[str]:
        return [f"{self._name}-{number}" for number in range(self._queues)]

    def _top_up(self, node: Process) -> None:
        needed = round(self._expected * self._bench.seconds * self._MARGIN / self._queues)
        for name in self._names():
            filling.by_api(node.port, name, needed + CLAIM_SIZE - stored(node, name))


def shares(loads: Sequence[Load]) -> str:
    """The cores that each process used, in words."""
    names = loads[0].cores
    told = [("wrk", statistics.median(load.wrk_cores for load in loads))]
    told += [(name, statistics.median(load.cores[name] for load in loads)) for name in names]
    others = statistics.median(load.other_cores for load in loads)
    if others > CALM:
        told.append(("others", others))
    return ", ".join(f"{name} {used:.2f}" for name, used in told)


def limit(loads: Sequence[Load], cores: int, *, one_thread: Sequence[str]) -> str:
    """What kept the rate from being higher; ``one_thread`` names processes that use one core."""
    used = {name: statistics.median(load.cores[name] for load in loads) for name in loads[0].cores}
    others = statistics.median(load.other_cores for load in loads)
    busy = sum(used.values()) + statistics.median(load.wrk_cores for load in loads) + others
    full = [name for name in one_thread if used[name] >= _NEARLY_A_CORE]
    if full:
        return f"{' and '.join(full)} at a core"
    if busy < cores * _NEARLY_ALL:
        return "waiting for the store: no process and not the machine was at its end"
    if others > _MUCH:
        return f"all {cores} cores, of which others used {others:.2f}: of no use"
    return f"all {cores} cores, most of it {max(used, key=lambda name: used[name])}"
