"""What a request costs the node and the store in CPU time, and the disk in bytes.

No targets: these are what ``python -m benchmarks.scale`` reckons with. The load is spread
over many queues, as it would be in a large installation.
"""

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from statistics import median

from benchmarks.figures import Figure
from benchmarks.processes import Process, bytes_written, cpu_seconds
from benchmarks.stores.bench import StoreBench
from benchmarks.stores.costs import Cpu
from benchmarks.stores.loads import STORE, Backlog, Spread
from benchmarks.wire import Connection, request
from benchmarks.wrk import Load, LoadFailed

BATCHES = (1, 10, 100)
WAITERS = 1000
_WAIT = 30
_WAIT_QUEUES = 100
_SETTLED = 3.0
"""Seconds until waiters have all arrived and looked."""
_OBSERVED = 8.0


def costs(bench: StoreBench) -> Iterator[Figure]:
    """CPU of node and store for each request; waiters; what a second node spends on hearing,
    where nobody waits for what is posted: some stores tell it all the same."""
    with bench.nodes("costs", 2) as [node, listener]:
        spread = Spread(bench, [node], watched=[listener])
        for count in BATCHES:
            loads, written = _rounds(bench, lambda n=count: spread.post(f"by-{n}", count=n))
            cost = bench.costs.post[count] = _cpu(loads, node)
            yield from _figures(f"post of {count}", cost)
            if count == 1:
                heard = median(load.micros_per_request(listener.name) for load in loads)
                bench.costs.heard = heard
                yield _figure(
                    "a message that another node takes in, of one where nobody waits", heard
                )
            messages = count * sum(load.report.requests for load in loads)
            bench.costs.written[count] = written / messages
            name = f"written to the store's disk for each message, {count} in a post"
            yield Figure(phase="costs", name=name, value=written / messages, unit="B")
        backlog = Backlog(bench, "work")
        loads, _ = _rounds(bench, lambda: backlog.round(spread, node))
        bench.costs.work = _cpu(loads, node)
        yield from _figures("claim of 10, or delete of 10", bench.costs.work)
        loads, _ = _rounds(bench, lambda: spread.work("nothing"))
        bench.costs.empty_claim = _cpu(loads, node)
        yield from _figures("claim that finds nothing", bench.costs.empty_claim)
    yield from _waiters(bench)


def _rounds(bench: StoreBench, run: Callable[[], Load]) -> tuple[list[Load], int]:
    """Rounds after a warm-up, and the bytes that the store wrote meanwhile."""
    run()
    before = bytes_written(bench.engine.pids())
    [loads] = bench.compared(run)
    return loads, bytes_written(bench.engine.pids()) - before


def _cpu(loads: Sequence[Load], node: Process) -> Cpu:
    return Cpu(
        node=median(load.micros_per_request(node.name) for load in loads),
        store=median(load.micros_per_request(STORE) for load in loads),
    )


def _waiters(bench: StoreBench) -> Iterator[Figure]:
    """What clients cost that wait in a long poll while nothing happens."""
    count = WAITERS // 10 if bench.quick else WAITERS
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 500), hard))
    with bench.nodes("waiters") as [node], ExitStack() as stack:
        processes = {"node": lambda: node.pids, "store": bench.engine.pids}
        rested = {name: _cores(pids(), _OBSERVED / 2) for name, pids in processes.items()}
        empty = node.rss_bytes()
        for index in range(count):
            waiter = stack.enter_context(Connection(node.port))
            path = f"/v2/queues/idle-{index % _WAIT_QUEUES}/claims?wait={_WAIT}"
            waiter.send(request("POST", path, {"ttl": 300, "grace": 60}))
        time.sleep(_SETTLED)
        used = {name: _cores(pids(), _OBSERVED / 2) for name, pids in processes.items()}
        held = node.rss_bytes() - empty
    each = {name: max(0.0, used[name] - rested[name]) / count * 1e6 for name in used}
    if held <= 0:
        raise LoadFailed("waiters took no memory")
    bench.costs.waiter = Cpu(node=each["node"], store=each["store"])
    bench.costs.waiter_bytes = held / count
    yield from _figures("client that waits, each second", bench.costs.waiter)
    yield Figure(phase="costs", name="memory of a client that waits", value=held / count, unit="B")


def _cores(pids: Sequence[int], length: float) -> float:
    before, began = cpu_seconds(pids), time.perf_counter()
    time.sleep(length)
    return (cpu_seconds(pids) - before) / (time.perf_counter() - began)


def _figures(what: str, cost: Cpu) -> Iterator[Figure]:
    yield _figure(f"{what}, of the node", cost.node)
    yield _figure(f"{what}, of the store", cost.store)


def _figure(name: str, micros: float) -> Figure:
    return Figure(phase="costs", name=name, value=micros, unit="µs", note="CPU time")
