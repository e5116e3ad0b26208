"""Rates under load: posts beside the bare handler, batches, and claim + delete.

The sides of a comparison take turns, round after round, and the ratio is the median of the
rounds' ratios. After the posts the store is asked whether it holds what was acknowledged.
"""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks import filling, servers, wrk
from benchmarks.bench import Bench
from benchmarks.figures import Figure, at_least, ratio_of_rounds
from benchmarks.processes import Process
from benchmarks.wire import Connection
from benchmarks.wrk import Load, LoadFailed

POST_TARGETS = {32: 0.35, 256: 0.5}
"""Connections, and the share of the bare handler's rate that a durable post must reach."""
BATCH_TARGETS = {10: 4.0, 100: 8.0}
"""Messages in a request, and how many times the single-message rate they must reach."""
WORK_TARGET = 2.0
"""Claim 10 + delete 10, in messages, beside single posts."""
CLAIM_SIZE = 10


def post(bench: Bench) -> Iterator[Figure]:
    """Durable single-message posts, and the bare handler under the same server."""
    with servers.nuska(bench.fresh("post")) as nuska, servers.bare(bench.directory) as bare:
        for connections, target in POST_TARGETS.items():
            ours, theirs = [], []
            _posts(bench, nuska, connections=connections, warm=True)
            _posts(bench, bare, connections=connections, warm=True)
            before = stored(nuska, "jobs")
            for _ in range(bench.rounds):
                ours.append(_posts(bench, nuska, connections=connections))
                theirs.append(_posts(bench, bare, connections=connections))
            acknowledged = before + sum(load.report.requests for load in ours)
            _check_stored(nuska, acknowledged, unknown=connections * len(ours))
            yield Figure(
                phase="post",
                name=f"single durable posts, {connections} connections, beside bare ASGI",
                value=ratio_of_rounds(_rates(ours), _rates(theirs)),
                unit="×",
                target=at_least(target),
                note=f"{_told(ours)}; bare {_told(theirs)}",
            )
            yield Figure(
                phase="post",
                name=f"  rate, {connections} connections",
                value=statistics.median(_rates(ours)),
                unit="/s",
                note=f"answer p50 {_micros(ours, 'p50')} ms, p99 {_micros(ours, 'p99')} ms",
            )


def batch(bench: Bench) -> Iterator[Figure]:
    """Messages a second at 1, 10 and 100 messages a request."""
    with servers.nuska(bench.fresh("batch")) as nuska:
        loads: dict[int, list[Load]] = {1: [], **{size: [] for size in BATCH_TARGETS}}
        for size in loads:
            _posts(bench, nuska, count=size, warm=True)
        for _ in range(bench.rounds):
            for size, found in loads.items():
                found.append(_posts(bench, nuska, count=size))
        single = _rates(loads[1])
        for size, target in BATCH_TARGETS.items():
            messages = [rate * size for rate in _rates(loads[size])]
            yield Figure(
                phase="batch",
                name=f"messages a second at {size} a request, beside 1 a request",
                value=ratio_of_rounds(messages, single),
                unit="×",
                target=at_least(target),
                note=f"{statistics.median(messages):,.0f} messages/s; {_told(loads[size])}",
            )


def work(bench: Bench) -> Iterator[Figure]:
    """Claims of ten and bulk deletes of the ten, beside single posts."""
    with servers.nuska(bench.fresh("work")) as nuska:
        posts, works = [], []
        expected = 60_000.0
        for index in range(bench.rounds + 1):
            posted = _posts(bench, nuska)
            needed = round(expected * bench.seconds * 1.3) - stored(nuska, "work")
            filling.by_api(nuska.port, "work", max(0, needed))
            load = wrk.run(
                "work",
                f"{nuska.url}/v2/queues/work",
                servers=nuska.pids,
                seconds=bench.seconds,
                count=CLAIM_SIZE,
            )
            if load.report.empty:
                raise LoadFailed(f"the backlog ran out: {load.report}")
            expected = load.claimed_per_second
            if index:  # the first round warms up and says how much a round needs
                posts.append(posted)
                works.append(load)
        messages = [load.claimed_per_second for load in works]
        yield Figure(
            phase="work",
            name="claim 10 + delete 10, messages a second beside single posts",
            value=ratio_of_rounds(messages, _rates(posts)),
            unit="×",
            target=at_least(WORK_TARGET),
            note=f"{statistics.median(messages):,.0f} messages/s; {_told(works)}",
        )


def stored(server: Process, queue: str) -> int:
    """How many messages the server says the queue holds."""
    with Connection(server.port) as connection:
        stats = connection.must("GET", f"/v2/queues/{queue}/stats").json()
    total: int = stats["messages"]["total"]
    return total


def _posts(
    bench: Bench, server: Process, *, connections: int = 32, count: int = 1, warm: bool = False
) -> Load:
    return wrk.run(
        "post",
        f"{server.url}/v2/queues/jobs/messages",
        servers=server.pids,
        connections=connections,
        seconds=1 if warm else bench.seconds,
        count=count,
    )


def _check_stored(server: Process, acknowledged: int, *, unknown: int) -> None:
    """wrk hangs up with one request in flight on each connection: those may be stored too."""
    found = stored(server, "jobs")
    if not acknowledged <= found <= acknowledged + unknown:
        raise LoadFailed(f"{acknowledged} posts acknowledged, {found} messages stored")


def _rates(loads: Sequence[Load]) -> list[float]:
    return [load.requests_per_second for load in loads]


def _told(loads: Sequence[Load]) -> str:
    """Rate and who used the cores, in words."""
    rate = statistics.median(_rates(loads))
    server = statistics.median(load.server_cores for load in loads)
    generator = statistics.median(load.wrk_cores for load in loads)
    others = statistics.median(load.other_cores for load in loads)
    noise = f", others {others:.2f}" if others > 0.1 else ""
    return f"{rate:,.0f}/s (cores: server {server:.2f}, wrk {generator:.2f}{noise})"


def _micros(loads: Sequence[Load], field: str) -> str:
    return f"{statistics.median(getattr(load.report, field) for load in loads) / 1000:.1f}"
