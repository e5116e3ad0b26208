"""Long polls: how fast one wakes, and what thousands of them cost while nothing happens."""

import random
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack

from benchmarks import servers
from benchmarks.bench import Bench
from benchmarks.figures import Figure, at_most, counted, percentile
from benchmarks.filling import BODY
from benchmarks.processes import cpu_seconds
from benchmarks.wire import PRODUCER, Connection, request
from benchmarks.wrk import LoadFailed

WAKE_BOUND_MS = 10.0
IDLE_BOUND_PERCENT = 5.0
WAITERS = 2000
_QUEUES = 100
_WAIT = 30
_REST = 0.01
"""A waiter is idle for at least so long before it is woken."""


def wake(bench: Bench) -> Iterator[Figure]:
    """From sending a post to the answer of the claim that waited for it."""
    claim = request("POST", f"/v2/queues/wake/claims?wait={_WAIT}", {"ttl": 300, "grace": 60})
    document = {"messages": [{"ttl": 3600, "body": BODY}]}
    post = request("POST", "/v2/queues/wake/messages", document, client=PRODUCER)
    from_send, from_answer = [], []
    with (
        servers.nuska(bench.fresh("wake")) as server,
        Connection(server.port) as waiter,
        Connection(server.port) as poster,
    ):
        for _ in range(50 if bench.quick else 600):
            waiter.send(claim)
            time.sleep(_REST + random.random() * _REST)
            began = time.perf_counter()
            posted = poster.exchange(post)
            claimed = waiter.receive()
            ended = time.perf_counter()
            if posted.status != 201 or claimed.status != 201:
                raise LoadFailed(f"post {posted.status}, waiting claim {claimed.status}")
            from_send.append(ended - began)
            from_answer.append(ended - began - posted.seconds)
            message = claimed.json()["messages"][0]["id"]
            waiter.must("DELETE", f"/v2/queues/wake/messages?ids={message}")
    yield Figure(
        phase="waiting",
        name="a waiting claim answers after the post was sent, p99",
        value=percentile(from_send, 99) * 1000,
        unit="ms",
        target=at_most(WAKE_BOUND_MS),
        note=f"median {percentile(from_send, 50) * 1000:.2f} ms; after the post's own answer: "
        f"median {percentile(from_answer, 50) * 1000:.2f}, "
        f"p99 {percentile(from_answer, 99) * 1000:.2f} ms",
    )


def idle(bench: Bench) -> Iterator[Figure]:
    """CPU of the server while 2 000 claims wait on 100 queues and nothing is posted."""
    count = WAITERS // 10 if bench.quick else WAITERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 500
    if soft < needed:
        if hard not in (resource.RLIM_INFINITY,) and hard < needed:
            raise LoadFailed(f"{needed} open files are needed, {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    with servers.nuska(bench.fresh("idle")) as server, ExitStack() as stack:
        empty = server.rss_bytes()
        rested = _cores(server.pid, bench.seconds)
        waiters = []
        for index in range(count):
            waiter = stack.enter_context(Connection(server.port))
            path = f"/v2/queues/idle-{index % _QUEUES}/claims?wait={_WAIT}"
            waiter.send(request("POST", path, {"ttl": 300, "grace": 60}))
            waiters.append(waiter)
        time.sleep(2)
        used = _cores(server.pid, bench.seconds * 2)
        rss = server.rss_bytes()
        if early := [waiter for waiter in waiters if _answered(waiter)]:
            raise LoadFailed(f"{len(early)} waiters were answered early")
    yield Figure(
        phase="waiting",
        name=f"share of a core that {counted(count)} idle waiters take",
        value=used * 100,
        unit="%",
        target=at_most(IDLE_BOUND_PERCENT),
        note=f"{rested * 100:.1f} % without them; {(rss - empty) / count / 1000:.0f} KB each",
    )


def _cores(pid: int, length: float) -> float:
    """Cores in use over ``length`` seconds."""
    before, began = cpu_seconds([pid]), time.perf_counter()
    time.sleep(length)
    return (cpu_seconds([pid]) - before) / (time.perf_counter() - began)


def _answered(waiter: Connection) -> bool:
    waiter.socket.setblocking(False)
    try:
        waiter.socket.recv(1)
    except BlockingIOError:
        return False
    return True
