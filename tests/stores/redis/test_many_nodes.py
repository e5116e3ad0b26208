"""Several nodes on one store: exclusive claims, one order, one timeline."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.stores.redis.calls import Calls
from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, bodies, sweep_all
from nuska.testing.redis_server import RedisServer
from nuska.upkeep.store_clock import GOOD_FOR, ServerClock

Open = Callable[[str], Awaitable[RedisStore]]
WORKER = """
import asyncio, sys
from nuska.domain.moments import Duration, Moment
from nuska.domain.messages import NewMessage, QueueRef
from nuska.interfaces.storage import StoreOptions
from nuska.stores.redis.store import open_redis
import os

async def main(url, name):
    options = StoreOptions(url=url, data_dir="", now=Moment(1), random_bytes=os.urandom)
    store = await open_redis(options)
    queue, now, hour = QueueRef("acme", "inbox"), Moment(1_893_456_000_000), Duration(3_600_000)

    async def post(number):
        body = b'"%s:%d"' % (name.encode(), number)
        await store.messages.add(queue, [NewMessage(body=body, ttl=hour)], now=now)

    async def take(number):
        claim = (name.encode().hex() + "%022x" % number)
        claimed = await store.claims.create(
            queue, claim_id=claim, limit=3, ttl=hour, grace=Duration(0), now=now)
        for message in claimed.messages:
            print(message.id, message.claim_count)

    for start in range(0, 100, 20):
        await asyncio.gather(*(post(start + n) for n in range(20)),
                             *(take(start + n) for n in range(10)))
    for number in range(100, 200):
        await take(number)
    await store.close()

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


async def test_claims_from_several_processes_share_no_message(
    server: RedisServer, open_at: Open
) -> None:
    await open_at(server.url)
    workers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, server.url, name, stdout=asyncio.subprocess.PIPE
        )
        for name in "abc"
    ]
    async with asyncio.timeout(60):
        printed = await asyncio.gather(*(worker.communicate() for worker in workers))
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    taken = [line for out, _ in printed for line in out.decode().splitlines()]
    assert len(taken) == len(set(taken)) == 300
    assert all(line.endswith(" 1") for line in taken)


async def test_a_node_that_is_behind_lives_on_the_timeline_of_the_queue(
    server: RedisServer, open_at: Open
) -> None:
    ahead = Inbox(await open_at(server.url), ManualClock(Moment(1_900_000_300_000)))
    behind = Inbox(await open_at(server.url), ManualClock(Moment(1_900_000_000_000)))
    await ahead.post("one", "two")
    await behind.post("three")
    assert await behind.listed() == ["one", "two", "three"]
    [claimed] = await behind.claim(1, limit=1, ttl=MINUTE)
    assert claimed.available_at == ahead.now + MINUTE
    assert await ahead.claim(2, limit=1, ttl=HOUR) != [claimed]
    held = await ahead.held(1)
    assert held is not None
    assert bodies(held.messages) == ["one"]


async def test_a_claim_that_comes_between_the_calls_of_another_is_not_before_them(
    server: RedisServer, open_at: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first dead letter needs its queue listed before the claim can go on. What was made
    ready until then was so at that claim's moment, also for a node whose clock is behind."""
    ahead = Inbox(await open_at(server.url), ManualClock(Moment(1_900_000_060_000)))
    behind = Inbox(await open_at(server.url), ManualClock(Moment(1_900_000_059_997)))
    before = Inbox(behind.store, ManualClock(Moment(1_900_000_000_000)))
    await before.post("one")
    await before.claim(1, ttl=MINUTE)
    found: list[Moment] = []
    go_on = Calls._after

    async def claim_meanwhile(calls: Calls, entry: Any, *rest: Any) -> Any:
        if entry is not None and not found:
            found.extend(one.available_at for one in await behind.claim(2, ttl=MINUTE))
        return await go_on(calls, entry, *rest)

    monkeypatch.setattr(Calls, "_after", claim_meanwhile)
    await ahead.claim(3, dead_letters=ahead.beside("dead").rule(1))
    assert found == [ahead.now + MINUTE]


async def test_sweepers_of_several_nodes_report_and_remove_together(
    server: RedisServer, open_at: Open
) -> None:
    clock = ManualClock()
    inboxes = [Inbox(await open_at(server.url), clock) for _ in range(3)]
    for number in range(30):
        await inboxes[number % 3].beside(f"box-{number}").post("late", delay=MINUTE, ttl=HOUR)
    clock.advance(seconds=60)
    swept = await asyncio.gather(*(sweep_all(inbox.store, clock) for inbox in inboxes))
    due = {ref.name for _, refs in swept for ref in refs}
    assert due == {f"box-{number}" for number in range(30)}
    clock.advance(seconds=3600)
    swept = await asyncio.gather(*(sweep_all(inbox.store, clock) for inbox in inboxes))
    assert sum(removed for removed, _ in swept) == 30


async def test_clocks_that_differ_by_minutes_agree_on_the_time_of_the_server(
    store: RedisStore,
) -> None:
    slow, fast = ManualClock(), ManualClock(Moment(1_893_456_600_000))
    clocks = [ServerClock(local, store.time) for local in (slow, fast)]
    for clock in clocks:
        await clock.measure()
    one, other = (clock.now() for clock in clocks)
    assert abs(one - other) < 1000
    slow.advance(seconds=5)
    assert clocks[0].now() == one + 5000


async def test_a_time_that_was_learnt_too_long_ago_is_not_used(store: RedisStore) -> None:
    local = ManualClock()
    clock = ServerClock(local, store.time)
    with pytest.raises(Unavailable):
        clock.now()
    await clock.measure()
    before = clock.now()
    local.advance(milliseconds=GOOD_FOR)
    assert clock.now() == before + GOOD_FOR
    local.advance(milliseconds=1)
    with pytest.raises(Unavailable):
        clock.now()
    await clock.measure()
    assert clock.now() >= before + GOOD_FOR


async def test_the_time_of_a_node_never_runs_backwards() -> None:
    answers = iter([5000, 5000, 5000, 1000, 1000, 1000])

    async def ask() -> Moment:
        return Moment(next(answers))

    clock = ServerClock(ManualClock(), ask)
    await clock.measure()
    assert clock.now() == 5000
    await clock.measure()
    assert clock.now() == 5000
