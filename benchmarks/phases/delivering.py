"""Notifications: deliveries a second to webhooks, and what subscribers cost whoever posts.

The webhooks are one receiver process with an address of this machine for each, so that each is
an endpoint of its own. Beside the deliveries the same requests are sent by a bare loop of the
HTTP client that the server uses too, to the same receiver, as many at once.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import aiohttp
import uvloop
from msgspec import Struct

from benchmarks import filling, servers
from benchmarks.bench import Bench
from benchmarks.figures import Figure, at_least, at_most, ratio_of_rounds
from benchmarks.processes import Process, busy_seconds, cpu_seconds, free_port, running
from benchmarks.wire import PRODUCER, Connection, request
from benchmarks.wrk import LoadFailed
from nuska.delivery.bounds import DeliveryBounds

QUEUE = "told"
DELIVERY_TARGET = 0.5
POST_TARGET = 2.0
DELIVERIES = {1: 20_000, 10: 20_000, 100: 20_000}
"""In one round, by the number of webhooks."""
BATCH = 10
"""Messages in a post."""
SUBSCRIBERS = (1, 100)
"""With how many a post is timed, beside none."""
HALF = 0.5
"""Of the rate of deliveries that is sustained, while posts are timed."""
RATE_FOUND_BY = 10_000
"""Deliveries."""
LEAST_POSTS = 100
"""In one round of timed posts."""
_SUBSCRIBED = 604_800
_PATIENCE = 120.0
_GLANCE = 0.02
"""Seconds."""


class Told(Struct, frozen=True, kw_only=True):
    """One round of deliveries."""

    rate: float
    sender_cores: float
    receiver_cores: float
    other_cores: float


def deliveries(bench: Bench) -> Iterator[Figure]:
    """Deliveries a second to 1, 10 and 100 healthy webhooks, beside the bare client."""
    for webhooks, wanted in DELIVERIES.items():
        count = _scaled(bench, wanted)
        ours, theirs = [], []
        with receiving(bench.directory, webhooks) as receiver:
            for _ in range(bench.rounds):
                bench.patience.wait_for_calm()
                ours.append(_deliver(bench, receiver, webhooks, count))
                theirs.append(_send(receiver, webhooks, count))
        yield Figure(
            phase="deliveries",
            name=f"deliveries to {webhooks} webhooks, beside the bare client",
            value=ratio_of_rounds([told.rate for told in ours], [told.rate for told in theirs]),
            unit="×",
            target=at_least(DELIVERY_TARGET),
            note=f"{_in_words(ours)}; bare {_in_words(theirs)}; at once {_at_once(webhooks)} each",
        )


def told_posts(bench: Bench) -> Iterator[Figure]:
    """The median post with subscribers, at half the rate of deliveries that is sustained."""
    for webhooks in SUBSCRIBERS:
        with receiving(bench.directory, webhooks) as receiver:
            rate = _deliver(bench, receiver, webhooks, _scaled(bench, RATE_FOUND_BY)).rate
            with servers.nuska(bench.fresh("told"), name="told") as server:
                subscribe(server, receiver, webhooks)
                pace = rate * HALF / webhooks
                sides = [
                    partial(timed_posts, bench, server, receiver, queue, pace, told)
                    for queue, told in ((QUEUE, webhooks), ("alone", 0))
                ]
                rounds = [[side() for side in sides] for _ in range(bench.rounds)]
        told, alone = zip(*rounds, strict=True)
        yield Figure(
            phase="deliveries",
            name=f"median post to a queue with {webhooks} subscribers, beside none",
            value=ratio_of_rounds(told, alone),
            unit="×",
            target=at_most(POST_TARGET),
            note=f"{statistics.median(told) * 1000:.2f} ms beside "
            f"{statistics.median(alone) * 1000:.2f} ms; {pace:,.0f} posts/s, "
            f"{pace * webhooks:,.0f} deliveries/s, in one process",
        )


def subscribe(server: Process, receiver: Process, webhooks: int) -> None:
    """Make so many subscriptions of the queue, each of an endpoint of its own."""
    with Connection(server.port) as connection:
        for host in hosts(webhooks):
            document = {"subscriber": f"http://{host}:{receiver.port}/ok", "ttl": _SUBSCRIBED}
            connection.must("POST", f"/v2/queues/{QUEUE}/subscriptions", document)


def hosts(webhooks: int) -> list[str]:
    return [f"127.0.0.{number}" for number in range(1, webhooks + 1)]


def arrived(receiver: Process) -> int:
    """How many requests the receiver has had, but for those that asked."""
    with Connection(receiver.port) as connection:
        totals = connection.ask("GET", "/count").json()
    return int(totals["count"]) - int(totals["asked"])


def _scaled(bench: Bench, count: int) -> int:
    """A tenth in a quick run: a hundredth would be over before it has begun."""
    return count // 10 if bench.quick else count


def _at_once(webhooks: int) -> int:
    """How many requests the server has in flight to each endpoint."""
    bounds = DeliveryBounds()
    return max(1, min(bounds.in_flight_per_endpoint, bounds.in_flight_per_project // webhooks))


@contextmanager
def receiving(directory: Path, webhooks: int) -> Iterator[Process]:
    port = free_port()
    command = [sys.executable, "-m", "nuska.testing.receiver", "--port", str(port)]
    command += ["--hosts", str(webhooks)]
    with running("receiver", command, port=port, directory=directory) as process:
        yield process


def _deliver(bench: Bench, receiver: Process, webhooks: int, count: int) -> Told:
    """Post until ``count`` deliveries are due, and wait for the last of them."""
    messages = count // webhooks
    with servers.nuska(bench.fresh("deliveries"), name="deliveries") as server:
        subscribe(server, receiver, webhooks)
        before, watch = arrived(receiver), _Watch(server, receiver)
        filling.by_api(server.port, QUEUE, messages, batch=min(BATCH, messages))
        _wait_for(receiver, before + messages * webhooks)
        return watch.told(messages * webhooks)


def _send(receiver: Process, webhooks: int, count: int) -> Told:
    """The same requests, by the client alone, in this process."""
    messages = count // webhooks
    before, watch = arrived(receiver), _Watch(None, receiver)
    uvloop.run(_bare(receiver.port, webhooks, messages))
    told = watch.told(messages * webhooks)
    _wait_for(receiver, before + messages * webhooks)
    return told


async def _bare(port: int, webhooks: int, messages: int) -> None:
    document = {
        "ttl": 3600,
        "body": filling.BODY,
        "Message_Type": "Notification",
        "queue_name": QUEUE,
        "message_id": "0" * 24,
    }
    body, headers = json.dumps(document).encode(), {"Content-Type": "application/json"}

    async def sender(url: str, left: Iterator[int]) -> None:
        for _ in left:
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                if answer.status != 200:
                    raise LoadFailed(f"the receiver answered {answer.status}")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        senders = []
        for host in hosts(webhooks):
            left = iter(range(messages))
            url = f"http://{host}:{port}/ok"
            senders += [sender(url, left) for _ in range(_at_once(webhooks))]
        await asyncio.gather(*senders)


class _Watch:
    """Who uses the cores, from its making on; without a server this process is the sender."""

    def __init__(self, server: Process | None, receiver: Process) -> None:
        self._server = server
        self._receiver = receiver
        self._began = self._now()

    def told(self, count: int) -> Told:
        took, busy, own, server, receiver = (
            now - then for now, then in zip(self._now(), self._began, strict=True)
        )
        return Told(
            rate=count / took,
            sender_cores=(own if self._server is None else server) / took,
            receiver_cores=receiver / took,
            other_cores=max(0.0, busy - own - server - receiver) / took,
        )

    def _now(self) -> tuple[float, float, float, float, float]:
        server = 0.0 if self._server is None else cpu_seconds([self._server.pid])
        receiver = cpu_seconds([self._receiver.pid])
        return time.perf_counter(), busy_seconds(), time.process_time(), server, receiver


def _wait_for(receiver: Process, count: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (found := arrived(receiver)) < count:
        if time.monotonic() > deadline:
            raise LoadFailed(f"{count} deliveries were due, {found} arrived")
        time.sleep(_GLANCE)
    if found > count:
        raise LoadFailed(f"{count} deliveries were due, and {found} arrived")


def timed_posts(
    bench: Bench, server: Process, receiver: Process, queue: str, pace: float, told: int
) -> float:
    """The median of single posts, ``pace`` of them a second, and until all are delivered."""
    count = max(LEAST_POSTS, round(pace * bench.seconds))
    document = {"messages": [{"ttl": filling.TTL, "body": filling.BODY}]}
    post = request("POST", f"/v2/queues/{queue}/messages", document, client=PRODUCER)
    before, taken = arrived(receiver), []
    with Connection(server.port) as connection:
        began = time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, began + number / pace - time.perf_counter()))
            answer = connection.exchange(post)
            if answer.status != 201:
                raise LoadFailed(f"a post was answered {answer.status}")
            taken.append(answer.seconds)
    _wait_for(receiver, before + count * told)
    return statistics.median(taken)


def _in_words(rounds: list[Told]) -> str:
    def middle(name: str) -> float:
        return statistics.median(getattr(told, name) for told in rounds)

    return (
        f"{middle('rate'):,.0f}/s (cores: sender {middle('sender_cores'):.2f}, receiver "
        f"{middle('receiver_cores'):.2f}, others {middle('other_cores'):.2f})"
    )
