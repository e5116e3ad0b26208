"""Live connections: what thousands of them cost while nothing happens, and what one message to
all of them costs beside a bare broadcast."""

import json
import resource
import time
from collections.abc import Iterator

from benchmarks import servers
from benchmarks.bench import Bench
from benchmarks.crowd import Crowd, request
from benchmarks.figures import Figure, at_least, at_most, counted, ratio_of_rounds
from benchmarks.filling import BODY
from benchmarks.phases.credentials import new_key
from benchmarks.processes import Process, cpu_seconds
from benchmarks.wrk import LoadFailed

CONNECTIONS = 5000
PLAIN_BOUND_KB = 60.0
DEFLATE_BOUND_KB = 100.0
IDLE_BOUND_PERCENT = 5.0
BROADCAST_BOUND = 0.5
QUEUE = "live"
_IDLE_SECONDS = 40.0
"""Longer than the interval of pings, so that every connection has had one."""
_OTHERS = 500
"""Open files besides the connections."""


def live(bench: Bench) -> Iterator[Figure]:
    """5 000 subscribed connections, without compression and with it."""
    count = CONNECTIONS // 10 if bench.quick else CONNECTIONS
    _allow_files(count + _OTHERS)
    for deflate in (False, True):
        yield from _of_one_kind(bench, count, deflate=deflate)
    yield _with_keys(bench, count)


def _of_one_kind(bench: Bench, count: int, *, deflate: bool) -> Iterator[Figure]:
    how = "with deflate" if deflate else "without deflate"
    with (
        servers.nuska(
            bench.fresh(f"live-{deflate}"),
            environment={
                "NUSKA_MAX_WEBSOCKETS_PER_ADDRESS": str(count + 10),
                "NUSKA_WEBSOCKET_COMPRESSION": str(deflate).lower(),
            },
        ) as server,
        Crowd(server.port, deflate=deflate) as crowd,
    ):
        crowd.join(10, request("subscription_create", queue_name=QUEUE))  # all is loaded now
        before = server.rss_bytes()
        crowd.join(count, request("subscription_create", queue_name=QUEUE))
        each = (server.rss_bytes() - before) / count / 1000
        yield Figure(
            phase="live",
            name=f"memory of a subscribed connection, {how}",
            value=each,
            unit="KB",
            target=at_most(DEFLATE_BOUND_KB if deflate else PLAIN_BOUND_KB),
            note=f"of {counted(count)}",
        )
        if not deflate:
            yield _idle(bench, server, crowd, count, "")
        nuska = _broadcasts(bench, server, crowd, count + 10, _post())
    with (
        servers.broadcaster(bench.directory, deflate=deflate) as bare,
        Crowd(bare.port, deflate=deflate) as crowd,
    ):
        crowd.join(count + 10)
        reference = _broadcasts(bench, bare, crowd, count + 10, _push())
    yield Figure(
        phase="live",
        name=f"one message to {counted(count)}, {how}, beside a bare broadcast",
        value=ratio_of_rounds(nuska, reference),
        unit="×",
        target=at_least(BROADCAST_BOUND),
        note=f"{counted(round(max(nuska)))} pushes for a second of the server's CPU, "
        f"bare {counted(round(max(reference)))}; from the post to the last write",
    )


def _with_keys(bench: Bench, count: int) -> Figure:
    """What each connection has shown is looked at again every other second."""
    data = bench.fresh("live-keys")
    key = new_key(data)
    environment = {
        "NUSKA_AUTH_STRATEGY": "keys",
        "NUSKA_MAX_WEBSOCKETS_PER_ADDRESS": str(count + 10),
    }
    with (
        servers.nuska(data, environment=environment) as server,
        Crowd(server.port, deflate=False) as crowd,
    ):
        subscribes = request("subscription_create", queue_name=QUEUE)
        crowd.join(count, request("authenticate", key=key), subscribes)
        _broadcasts(bench, server, crowd, count, _post())  # raises if somebody is not let in
        return _idle(bench, server, crowd, count, ", each authenticated by a key")


def _idle(bench: Bench, server: Process, crowd: Crowd, count: int, how: str) -> Figure:
    seconds = 5.0 if bench.quick else _IDLE_SECONDS
    crowd.rest(2)
    before, began = cpu_seconds([server.pid]), time.perf_counter()
    crowd.rest(seconds)
    used = (cpu_seconds([server.pid]) - before) / (time.perf_counter() - began)
    return Figure(
        phase="live",
        name=f"share of a core that {counted(count)} idle connections take{how}",
        value=used * 100,
        unit="%",
        target=at_most(IDLE_BOUND_PERCENT),
        note="each with a subscription" + ("" if bench.quick else ", pings included"),
    )


def _broadcasts(
    bench: Bench, server: Process, crowd: Crowd, count: int, message: bytes
) -> list[float]:
    """Pushes for each second of CPU, by rounds."""
    rates = []
    for _ in range(bench.rounds):
        before, sent = cpu_seconds([server.pid]), 0
        for _ in range(4 if bench.quick else 20):
            already = crowd.received
            crowd.say(message)
            crowd.until(already + count + (1 if b'"action"' in message else 0))
            sent += count
        rates.append(sent / max(cpu_seconds([server.pid]) - before, 0.01))
    return rates


def _post() -> bytes:
    return request("message_post", queue_name=QUEUE, messages=[{"ttl": 3600, "body": BODY}])


def _push() -> bytes:
    """What a subscriber gets of that."""
    push = {"ttl": 3600, "body": BODY, "Message_Type": "Notification", "queue_name": QUEUE}
    return json.dumps(push).encode()


def _allow_files(needed: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        if hard not in (resource.RLIM_INFINITY,) and hard < needed:
            raise LoadFailed(f"{needed} open files are needed, {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
