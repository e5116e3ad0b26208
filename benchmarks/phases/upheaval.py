"""What everybody else notices when very much ends at once: claims, a purge, a deletion."""

import statistics
import time
from collections.abc import Iterator

from benchmarks import filling, servers
from benchmarks.bench import MILLION_QUEUE, Bench
from benchmarks.cycle import Cycle
from benchmarks.figures import Figure, at_most, counted, percentile
from benchmarks.wire import Connection, request
from benchmarks.wrk import LoadFailed
from nuska.domain.messages import QueueRef
from nuska.domain.moments import Duration, Moment, seconds
from nuska.interfaces.storage import Store

INSTANT_BOUND_MS = 50.0
"""The longest wait of any request while 10⁵ claims end."""
REMOVAL_BOUND = 2.0
"""A purge or deletion, beside the median post; and the p99 of other queues, beside before."""
_PROBE, _INSTANT = QueueRef("bench", "probe"), QueueRef("bench", "instant")
_PROBES = 1000
_LEAD = 4.0
"""Seconds that are left for the server's start and for measuring before the claims end."""
_EARLY = 0.1


def instant(bench: Bench) -> Iterator[Figure]:
    """10⁵ claims end in one millisecond while a client works on that queue and on another."""
    count = bench.scaled(100_000)
    data = bench.fresh("instant")
    bench.say(f"preparing {count} claims with one end")
    end = _claims_with_one_end(bench, data_name="instant", count=count)
    with servers.nuska(data) as server, Connection(server.port) as connection:
        cycles = [Cycle(connection, "instant"), Cycle(connection, "elsewhere")]
        if time.time() > end - 1:
            raise LoadFailed("preparing the claims took longer than planned")
        for cycle in cycles:
            cycle.turn()
            cycle.forget()
        before = _until(cycles, end - _EARLY)
        after = _until(cycles, end + (2 if bench.quick else 10))
        stats = connection.must("GET", "/v2/queues/instant/stats").json()["messages"]
    if stats["claimed"] or stats["free"] < count // 2:
        raise LoadFailed(f"the claims did not end as planned: {stats}")
    yield Figure(
        phase="instant",
        name=f"longest wait while {counted(count)} claims end at once",
        value=max(after) * 1000,
        unit="ms",
        target=at_most(INSTANT_BOUND_MS),
        note=f"p99 {percentile(after, 99) * 1000:.2f} ms; before: p99 "
        f"{percentile(before, 99) * 1000:.2f}, longest {max(before) * 1000:.2f} ms",
    )


def removal(bench: Bench) -> Iterator[Figure]:
    """Purge and delete a queue of 10⁶ while a client works on another queue."""
    million = bench.million
    kinds = {
        "purge": request("POST", f"/v2/queues/{MILLION_QUEUE}/purge"),
        "delete": request("DELETE", f"/v2/queues/{MILLION_QUEUE}"),
    }
    for kind, message in kinds.items():
        answers, before, meanwhile, posts = [], [], [], []
        for _ in range(1 if bench.quick else 5):
            data = bench.copy_of_million("removal")
            bench.patience.wait_for_calm()
            with servers.nuska(data) as server, Connection(server.port) as connection:
                cycle = Cycle(connection, "elsewhere")
                cycle.turns(seconds=0.5)
                cycle.forget()
                cycle.turns(seconds=bench.seconds / 2)
                before += cycle.all_taken()
                posts += cycle.taken["post"]
                cycle.forget()
                answer = connection.exchange(message)
                cycle.turns(seconds=bench.seconds)
                meanwhile += cycle.all_taken()
                left = connection.must("GET", f"/v2/queues/{MILLION_QUEUE}/stats").json()
            if answer.status != 204 or left["messages"]["total"]:
                raise LoadFailed(f"{kind}: {answer.status}, {left}")
            answers.append(answer.seconds)
        post = statistics.median(posts)
        yield Figure(
            phase="removal",
            name=f"{kind} of {counted(million.count)}, beside the median post",
            value=statistics.median(answers) / post,
            unit="×",
            target=at_most(REMOVAL_BOUND),
            note=f"{', '.join(f'{taken * 1000:.2f}' for taken in answers)} ms; "
            f"post {post * 1000:.2f} ms",
        )
        calm, busy = percentile(before, 99), percentile(meanwhile, 99)
        yield Figure(
            phase="removal",
            name=f"p99 of another queue after the {kind}, beside before",
            value=busy / calm,
            unit="×",
            target=at_most(REMOVAL_BOUND),
            note=f"{busy * 1000:.2f} ms, beside {calm * 1000:.2f} ms; "
            f"longest {max(meanwhile) * 1000:.1f} ms",
        )


def _claims_with_one_end(bench: Bench, *, data_name: str, count: int) -> float:
    """Fill a store with one-message claims; the moment (Unix time) at which all of them end.

    The end is fixed before the claims are made, so that nothing has to wait for it: a
    thousand claims of another queue tell how long the rest will take.
    """
    end = Moment(0)

    async def fill(store: Store) -> None:
        nonlocal end
        for queue, messages in ((_PROBE, _PROBES), (_INSTANT, count)):
            await filling.together(
                (
                    store.messages.add(queue, [filling.small()] * 100, now=filling.wall_clock())
                    for _ in range(messages // 100)
                ),
                at_once=20,
            )
        began = time.perf_counter()
        await _claim_each(store, _PROBE, _PROBES, seconds(36_000), now=filling.wall_clock())
        taken = (time.perf_counter() - began) / _PROBES * count
        now = filling.wall_clock()
        end = Moment(now + round((taken * 1.5 + _LEAD) * 1000))
        await _claim_each(store, _INSTANT, count, Duration(end - now), now=now)

    filling.in_store(bench.directory / data_name, fill)
    return end / 1000


async def _claim_each(
    store: Store, queue: QueueRef, count: int, ttl: Duration, *, now: Moment
) -> None:
    await filling.together(
        store.claims.create(
            queue, claim_id=f"{serial:024x}", limit=1, ttl=ttl, grace=seconds(36_000), now=now
        )
        for serial in range(count)
    )


def _until(cycles: list[Cycle], end: float) -> list[float]:
    """The seconds of every request until ``end``, in Unix time."""
    while time.time() < end:
        for cycle in cycles:
            cycle.turn()
    taken = [seconds for cycle in cycles for seconds in cycle.all_taken()]
    for cycle in cycles:
        cycle.forget()
    return taken
