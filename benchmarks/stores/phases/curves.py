"""Whether a request takes longer the more the store holds, as curves.

Every state is a store of its own with a node of its own, on the one server; they take turns,
one request at a time.
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from benchmarks.cycle import OPERATIONS, Cycle, in_turns
from benchmarks.figures import Figure, counted
from benchmarks.phases.depth import Walk, block, medians_beside
from benchmarks.processes import Process
from benchmarks.states import (
    QUEUE,
    SHALLOW,
    State,
    claimed_ahead,
    delayed_ahead,
    many_queues,
    waiting,
)
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.curves import Curve, Line
from benchmarks.stores.engine import Held
from benchmarks.wire import Connection

DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
IN_FLIGHT = 100_000
QUEUES = (100, 1_000, 10_000, 100_000)
AT_ONCE = 64
"""Calls of the driver under way while a store is filled: as many as it can answer in time."""
_WARM_UP = 5


def depth(bench: StoreBench) -> Iterator[Figure]:
    """Post, list and claim with 10² to 10⁶ waiting, and behind 10⁵ claimed or delayed."""
    depths = [SHALLOW, *(bench.scaled(count) for count in DEPTHS)]
    depths = sorted({max(SHALLOW, count) for count in depths})
    in_flight = bench.scaled(IN_FLIGHT)
    states: dict[str, State] = {f"{counted(count)} waiting": waiting(count) for count in depths}
    states[f"{counted(in_flight)} claimed ahead"] = claimed_ahead(in_flight, at_once=AT_ONCE)
    states[f"{counted(in_flight)} delayed ahead"] = delayed_ahead(in_flight)
    with ExitStack() as stack:
        nodes, held = [], {}
        for number, (name, state) in enumerate(states.items()):
            node, held[name] = _stand_up(bench, stack, f"depth-{number}", state)
            nodes.append(node)
        sides = [Cycle(stack.enter_context(Connection(node.port)), QUEUE) for node in nodes]
        _take_turns(bench, sides, [block(side) for side in sides])
    taken = {name: side.taken for name, side in zip(states, sides, strict=True)}
    base, *others = states
    for name in others:
        for operation in OPERATIONS:
            yield medians_beside(
                "depth",
                f"{operation}: {name}, beside {base}",
                taken[name][operation],
                taken[base][operation],
            )
    deepest = f"{counted(depths[-1])} waiting"
    bench.costs.message_disk_bytes = held[deepest].disk / depths[-1]
    bench.costs.message_memory_bytes = held[deepest].memory / depths[-1]
    yield from _sizes("depth", "message", held[deepest], depths[-1])
    shown = [taken[f"{counted(count)} waiting"] for count in depths]
    bench.curves.append(_curve("messages waiting in the queue", depths, shown, OPERATIONS))


def queues(bench: StoreBench) -> Iterator[Figure]:
    """Post and claim with 10² to 10⁵ queues, a different one each time."""
    counts = sorted({max(10, bench.scaled(count)) for count in QUEUES})
    with ExitStack() as stack:
        nodes, held = [], {}
        for count in counts:
            state = many_queues(count, at_once=AT_ONCE)
            node, held[count] = _stand_up(bench, stack, f"queues-{count}", state)
            nodes.append(node)
        sides = [
            Walk(stack.enter_context(Connection(node.port)), count)
            for node, count in zip(nodes, counts, strict=True)
        ]
        _take_turns(bench, sides, [side.step for side in sides])
    base, *others = zip(counts, sides, strict=True)
    for count, side in others:
        for operation in ("post", "claim"):
            yield medians_beside(
                "queues",
                f"{operation}: {counted(count)} queues, beside {counted(base[0])} queues",
                side.taken[operation],
                base[1].taken[operation],
            )
    bench.costs.queue_disk_bytes = held[counts[-1]].disk / counts[-1]
    bench.costs.queue_memory_bytes = held[counts[-1]].memory / counts[-1]
    yield from _sizes("queues", "queue with one message", held[counts[-1]], counts[-1])
    shown = [side.taken for side in sides]
    bench.curves.append(_curve("queues", counts, shown, ("post", "claim")))


def _stand_up(bench: StoreBench, stack: ExitStack, name: str, state: State) -> tuple[Process, Held]:
    """A store in a state, and a node on it."""
    url, held = bench.filled(name, state)
    [node] = stack.enter_context(bench.nodes_at(url, name))
    return node, held


def _take_turns(
    bench: StoreBench, sides: Sequence[Cycle | Walk], steps: Sequence[Callable[[], None]]
) -> None:
    in_turns(steps, rounds=_WARM_UP)
    for side in sides:
        side.forget()
    in_turns(steps, rounds=bench.turns)


def _sizes(phase: str, what: str, held: Held, count: int) -> Iterator[Figure]:
    for place, size in (("disk", held.disk), ("memory", held.memory)):
        if size > 0:
            yield Figure(
                phase=phase,
                name=f"  bytes of {place} for each {what}, of {counted(count)}",
                value=size / count,
                unit="B",
            )


def _curve(
    what: str,
    counts: Sequence[int],
    taken: Sequence[Mapping[str, Sequence[float]]],
    operations: Sequence[str],
) -> Curve:
    return Curve(
        title=f"Median time of a request by the number of {what}",
        across=what,
        counts=list(counts),
        lines=[
            Line(
                name=operation,
                milliseconds=[statistics.median(one[operation]) * 1000 for one in taken],
            )
            for operation in operations
        ],
    )
