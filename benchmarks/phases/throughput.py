"""Rates under load: posts beside the bare handler, batches, and claim + delete.

The sides of a comparison take turns, round after round, and the ratio is the median of the
rounds' ratios. After the posts the store is asked whether it holds what was acknowledged.
"""

import statistics
import time
from collections.abc import Iterator
from functools import partial

from benchmarks import filling, servers, wrk
from benchmarks.bench import Bench
from benchmarks.figures import Figure, at_least, ratio_of_rounds
from benchmarks.processes import Process
from benchmarks.rounds import rates, told
from benchmarks.wire import Connection
from benchmarks.wrk import Load, LoadFailed

POST_TARGETS = {32: 0.35, 256: 0.5}
"""Connections, and the share of the bare handler's rate that a durable post must reach."""
BATCH_TARGETS = {10: 4.0, 100: 8.0}
"""Messages in a request, and how many times the single-message rate they must reach."""
WORK_TARGET = 2.0
"""Claim 10 + delete 10, in messages, beside single posts."""
CLAIM_SIZE = 10
_ASKED_AGAIN = 20
_WARM_UP = 1.0
"""Seconds."""


def post(bench: Bench) -> Iterator[Figure]:
    """Durable single-message posts, and the bare handler under the same server."""
    with servers.nuska(bench.fresh("post")) as nuska, servers.bare(bench.directory) as bare:
        posters = [Poster(bench, server) for server in (nuska, bare)]
        for connections, target in POST_TARGETS.items():
            for poster in posters:
                poster.warm_up(connections=connections)
            ours, theirs = bench.compared(
                *(partial(poster.round, connections=connections) for poster in posters),
            )
            posters[0].check_stored()
            yield Figure(
                phase="post",
                name=f"single durable posts, {connections} connections, beside bare ASGI",
                value=ratio_of_rounds(rates(ours), rates(theirs)),
                unit="×",
                target=at_least(target),
                note=f"{told(ours)}; bare {told(theirs)}",
            )
            p50, p99 = (
                statistics.median(micros) / 1000
                for micros in zip(
                    *((load.report.p50, load.report.p99) for load in ours), strict=True
                )
            )
            yield Figure(
                phase="post",
                name=f"  rate, {connections} connections",
                value=statistics.median(rates(ours)),
                unit="/s",
                note=f"answer p50 {p50:.1f} ms, p99 {p99:.1f} ms",
            )


def batch(bench: Bench) -> Iterator[Figure]:
    """Messages a second at 1, 10 and 100 messages a request."""
    sizes = (1, *BATCH_TARGETS)
    with servers.nuska(bench.fresh("batch")) as nuska:
        posters = [Poster(bench, nuska, queue=f"by-{size}", count=size) for size in sizes]
        for poster in posters:
            poster.warm_up()
        loads = bench.compared(*(poster.round for poster in posters))
        for poster in posters:
            poster.check_stored()
    single = rates(loads[0])
    for size, found in zip(sizes[1:], loads[1:], strict=True):
        messages = [rate * size for rate in rates(found)]
        yield Figure(
            phase="batch",
            name=f"messages a second at {size} a request, beside 1 a request",
            value=ratio_of_rounds(messages, single),
            unit="×",
            target=at_least(BATCH_TARGETS[size]),
            note=f"{statistics.median(messages):,.0f} messages/s; {told(found)}",
        )


def work(bench: Bench) -> Iterator[Figure]:
    """Claims of ten and bulk deletes of the ten, beside single posts."""
    with servers.nuska(bench.fresh("work")) as nuska:
        poster, worker = Poster(bench, nuska), Worker(bench, nuska)
        poster.warm_up()
        worker.round()
        posts, works = bench.compared(poster.round, worker.round)
    messages = [load.claimed_per_second for load in works]
    yield Figure(
        phase="work",
        name="claim 10 + delete 10, messages a second beside single posts",
        value=ratio_of_rounds(messages, rates(posts)),
        unit="×",
        target=at_least(WORK_TARGET),
        note=f"{statistics.median(messages):,.0f} messages/s; {told(works)}",
    )


class Poster:
    """Posts ``count`` messages a request, and remembers how many were acknowledged."""

    def __init__(
        self, bench: Bench, server: Process, *, queue: str = "jobs", count: int = 1
    ) -> None:
        self._bench = bench
        self._server = server
        self._queue = queue
        self._count = count
        self._acknowledged = 0
        self._unknown = 0

    def warm_up(self, *, connections: int = 32) -> None:
        self._run(connections, _WARM_UP)

    def round(self, *, connections: int = 32) -> Load:
        return self._run(connections, self._bench.seconds)

    def check_stored(self) -> None:
        """wrk hangs up with a request in flight on each connection: those may be stored too."""
        found = stored(self._server, self._queue)
        if not self._acknowledged <= found <= self._acknowledged + self._unknown:
            raise LoadFailed(f"{self._acknowledged} messages acknowledged, {found} stored")

    def _run(self, connections: int, seconds: float) -> Load:
        load = wrk.run(
            "post",
            f"{self._server.url}/v2/queues/{self._queue}/messages",
            servers=self._server.pids,
            connections=connections,
            seconds=seconds,
            count=self._count,
        )
        self._acknowledged += load.report.requests * self._count
        self._unknown += connections * self._count
        return load


class Worker:
    """Claims and deletes, round after round, from a backlog that outlasts each of them."""

    _MARGIN = 1.5
    _FIRST_GUESS = 5000.0
    """Messages a second, before anything is known; a round that runs dry is repeated."""

    def __init__(self, bench: Bench, server: Process, *, endless: bool = False) -> None:
        """``endless``: a server that always has something to claim."""
        self._bench = bench
        self._server = server
        self._endless = endless
        self._expected = self._FIRST_GUESS

    def round(self) -> Load:
        while True:
            self._top_up()
            load = wrk.run(
                "work",
                f"{self._server.url}/v2/queues/work",
                servers=self._server.pids,
                seconds=self._bench.seconds,
                count=CLAIM_SIZE,
            )
            if self._endless or stored(self._server, "work"):
                self._expected = load.claimed_per_second
                return load
            self._expected = max(self._expected, load.claimed_per_second) * 2

    def _top_up(self) -> None:
        if not self._endless:
            needed = round(self._expected * self._bench.seconds * self._MARGIN)
            filling.by_api(self._server.port, "work", needed - stored(self._server, "work"))


def stored(server: Process, queue: str) -> int:
    """How many messages the server says the queue holds; asks again while it is unavailable."""
    with Connection(server.port) as connection:
        for _ in range(_ASKED_AGAIN):
            answer = connection.ask("GET", f"/v2/queues/{queue}/stats")
            if answer.status == 200:
                total: int = answer.json()["messages"]["total"]
                return total
            time.sleep(0.25)
    raise LoadFailed(f"stats of {queue}: {answer.status} {answer.body[:300]!r}")
