"""The phases of ``make bench STORE=…``, in the order they run."""

from benchmarks.stores.bench import StorePhase
from benchmarks.stores.phases import costs, curves, latency, posters, told, workers

PHASES: dict[str, StorePhase] = {
    "latency": latency.latency,
    "posters": posters.posters,
    "workers": workers.workers,
    "told": told.told,
    "depth": curves.depth,
    "queues": curves.queues,
    "costs": costs.costs,
}
