"""What a million messages take: memory, time to start, and what is left when they have gone."""

import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks import filling, servers, wrk
from benchmarks.bench import MILLION_QUEUE, Bench
from benchmarks.cycle import Cycle, in_turns
from benchmarks.figures import Figure, at_most, counted
from benchmarks.processes import Process
from benchmarks.wire import Connection, Refused

RSS_BOUND_MB = 200.0
RESTART_BOUND_S = 2.0
FILE_BOUND_MB = 16.0
"""Database and log, beyond those of a new store after the same last work: a log keeps the
length it once had, whoever wrote it; rows and free pages must not stay."""
CLAIM_BOUND = 1.3
_SETTLES_WITHIN = 60.0
_STEADY = 4.0
"""Seconds without a change in size that count as the end of it."""
_DRAINED_WITHIN = 120.0
_DEPTH = 100
_POP = 20


def memory(bench: Bench) -> Iterator[Figure]:
    """Resident memory after taking 10⁶ small messages by the API, and the next start."""
    million = bench.million
    yield Figure(
        phase="memory",
        name=f"resident memory after {counted(million.count)} posts",
        value=million.rss_bytes / 1e6,
        unit="MB",
        target=at_most(RSS_BOUND_MB),
        note=f"most {million.peak_rss_bytes / 1e6:.0f} MB; filled in {million.fill_seconds:.0f} s "
        f"({million.count / million.fill_seconds:,.0f} messages/s), "
        f"{size_of(million.data) / 1e6:.0f} MB on disk",
    )
    data = bench.copy_of_million("restart")
    for how, kill in (("a stop", False), ("a kill", True)):
        taken = [_first_answer(data, kill=kill) for _ in range(1 if bench.quick else 3)]
        yield Figure(
            phase="memory",
            name=f"start to first answer with {counted(million.count)} stored, after {how}",
            value=max(taken),
            unit="s",
            target=at_most(RESTART_BOUND_S),
            note=", ".join(f"{seconds:.2f}" for seconds in taken),
        )


def backlog(bench: Bench) -> Iterator[Figure]:
    """A million come and go; the file and a claim are as if they had never been."""
    fresh, used = bench.fresh("fresh"), bench.copy_of_million("used")
    full = size_of(used)
    with ExitStack() as stack:
        young = stack.enter_context(servers.nuska(fresh, name="fresh"))
        old = stack.enter_context(servers.nuska(used, name="used"))
        bench.say("popping the backlog")
        popped_in = _drain(bench, old)
        cycles = []
        for server in (young, old):
            filling.by_api(server.port, MILLION_QUEUE, _DEPTH)
            cycles.append(Cycle(stack.enter_context(Connection(server.port)), MILLION_QUEUE))
        sides = [cycle.turn for cycle in cycles]
        in_turns(sides, rounds=50)
        for cycle in cycles:
            cycle.forget()
        in_turns(sides, rounds=50 if bench.quick else 600)
        settled_in = _settle(used)
        left, beside = size_of(used), size_of(fresh)
    base, taken = (statistics.median(cycle.taken["claim"]) for cycle in cycles)
    yield Figure(
        phase="backlog",
        name=f"left on disk when {counted(bench.million.count)} came and went",
        value=(left - beside) / 1e6,
        unit="MB",
        target=at_most(FILE_BOUND_MB),
        note=f"{full / 1e6:.0f} MB with them, {left / 1e6:.1f} MB without, "
        f"{beside / 1e6:.1f} MB in a new store; popped in "
        f"{popped_in:.0f} s, smallest {settled_in:.0f} s after the last request",
    )
    yield Figure(
        phase="backlog",
        name=f"claim after {counted(bench.million.count)} came and went, beside a new store",
        value=taken / base,
        unit="×",
        target=at_most(CLAIM_BOUND),
        note=f"median {taken * 1000:.2f} ms, beside {base * 1000:.2f} ms",
    )


def size_of(data: Path) -> int:
    """Bytes on disk of everything in a data directory."""
    total = 0
    for path in data.rglob("*"):
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:  # a log that the server has just removed
            continue
    return total


def _first_answer(data: Path, *, kill: bool) -> float:
    """Seconds from starting the process to the first page of the great queue."""
    began = time.perf_counter()
    with servers.nuska(data, name="restart") as server, Connection(server.port) as connection:
        page = connection.must("GET", f"/v2/queues/{MILLION_QUEUE}/messages?echo=true").json()
        taken = time.perf_counter() - began
        if not page["messages"]:
            raise Refused("the messages are gone")
        filling.by_api(server.port, "elsewhere", 2000, batch=10)  # something to recover
        if kill:
            server.kill()
    return taken


def _drain(bench: Bench, server: Process) -> float:
    began = time.perf_counter()
    while time.perf_counter() - began < _DRAINED_WITHIN:
        wrk.run(
            "pop",
            f"{server.url}/v2/queues/{MILLION_QUEUE}",
            servers=server.pids,
            seconds=bench.seconds,
            count=_POP,
        )
        with Connection(server.port) as connection:
            stats = connection.must("GET", f"/v2/queues/{MILLION_QUEUE}/stats").json()
        if not stats["messages"]["total"]:
            return time.perf_counter() - began
    raise wrk.LoadFailed(f"messages are left after {_DRAINED_WITHIN:.0f} s of popping: {stats}")


def _settle(data: Path) -> float:
    """Wait until the directory has stopped shrinking; seconds until its last change."""
    began = changed = time.perf_counter()
    size = size_of(data)
    while time.perf_counter() - began < _SETTLES_WITHIN and time.perf_counter() - changed < _STEADY:
        time.sleep(0.2)
        if (now := size_of(data)) != size:
            size, changed = now, time.perf_counter()
    return changed - began
