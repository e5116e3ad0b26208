"""A list for somebody whose own messages fill the head of the queue, with ``echo=false``."""

from collections.abc import Iterator

from benchmarks import servers
from benchmarks.bench import MILLION_QUEUE, Bench
from benchmarks.cycle import Cycle
from benchmarks.figures import Figure, at_most, counted, percentile
from benchmarks.filling import BODY
from benchmarks.wire import PRODUCER, WORKER, Connection, request
from benchmarks.wrk import LoadFailed

ECHO_BOUND_MS = 1000.0
"""The stated bound: a microsecond for each of one's own messages that is passed over."""
OTHERS_BOUND_MS = 50.0
_PATH = f"/v2/queues/{MILLION_QUEUE}/messages"


def echo(bench: Bench) -> Iterator[Figure]:
    """The page behind 10⁶ of the caller's own messages, and what others notice of it."""
    count = 3 if bench.quick else 20
    listing = request("GET", f"{_PATH}?echo=false", client=PRODUCER)
    with (
        servers.nuska(bench.copy_of_million("echo")) as server,
        Connection(server.port) as connection,
        Connection(server.port) as other,
    ):
        document = {"messages": [{"ttl": 36_000, "body": BODY}]}
        connection.must("POST", _PATH, document, client=WORKER)
        cycle = Cycle(other, "elsewhere")
        cycle.turns(seconds=0.3)
        cycle.forget()
        for _ in range(count):
            connection.send(listing)
            cycle.turns(seconds=0.3)
            answer = connection.receive()
            if len(answer.json()["messages"]) != 1:
                raise LoadFailed(f"echo=false: {answer.status} {answer.body[:300]!r}")
        taken = [connection.exchange(listing).seconds for _ in range(count)]
    yield Figure(
        phase="echo",
        name=f"longest list with echo=false behind {counted(bench.million.count)} own",
        value=max(taken) * 1000,
        unit="ms",
        target=at_most(ECHO_BOUND_MS),
        note=f"median {percentile(taken, 50) * 1000:.0f} ms",
    )
    yield Figure(
        phase="echo",
        name="longest wait of others meanwhile",
        value=max(cycle.all_taken()) * 1000,
        unit="ms",
        target=at_most(OTHERS_BOUND_MS),
        note=f"p99 {percentile(cycle.all_taken(), 99) * 1000:.2f} ms",
    )
