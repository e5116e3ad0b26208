"""The phases of ``make bench``, in the order they run."""

from benchmarks.bench import Phase
from benchmarks.phases import engine, throughput

PHASES: dict[str, Phase] = {
    "store": engine.store,
    "post": throughput.post,
    "batch": throughput.batch,
    "work": throughput.work,
}
