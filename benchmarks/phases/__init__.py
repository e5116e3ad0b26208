"""The phases of ``make bench``, in the order they run."""

from benchmarks.bench import Phase
from benchmarks.phases import (
    credentials,
    delivering,
    depth,
    engine,
    footprint,
    limited,
    listing,
    live,
    throughput,
    upheaval,
    waiting,
)

PHASES: dict[str, Phase] = {
    "store": engine.store,
    "post": throughput.post,
    "batch": throughput.batch,
    "work": throughput.work,
    "signed": credentials.signed,
    "proven": credentials.proven,
    "limited": limited.limited,
    "depth": depth.depth,
    "queues": depth.queues,
    "instant": upheaval.instant,
    "removal": upheaval.removal,
    "echo": listing.echo,
    "memory": footprint.memory,
    "backlog": footprint.backlog,
    "wake": waiting.wake,
    "idle": waiting.idle,
    "live": live.live,
    "deliveries": delivering.deliveries,
    "told": delivering.told_posts,
}
