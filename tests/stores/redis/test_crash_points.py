"""A node that dies before or after any of its commands leaves nothing half done (I1, I12, I16).

A day of work is run again and again, each time cut short one command later. Then another
node opens the store: what was acknowledged is there once, indexes miss nothing, and when
everything has ended nothing is left.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.queues import EMPTY_STATS
from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.announcements import log_of
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, bodies, sweep_all
from nuska.testing.mortal_servers import Mortal
from nuska.testing.redis_server import IN_MEMORY, redis_cluster, redis_server

Open = Callable[[str], Awaitable[RedisStore]]
MORE_THAN_A_DAY_TAKES = 500
DAY = 86_400
OTHERS = ("dead", "purged", "deleted", "heard")


@pytest.fixture(scope="module", params=["server", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory: Path = tmp_path_factory.mktemp("redis")
    if request.param == "server":
        with redis_server(directory, IN_MEMORY) as server:
            yield server.url
    else:
        with redis_cluster(directory) as cluster:
            yield cluster.url


class Day:
    """What a node does, and what it was told was done."""

    def __init__(self, store: RedisStore, clock: ManualClock) -> None:
        self.inbox = Inbox(store, clock)
        self.posted: list[str] = []
        self.gone: set[str] = set()
        self.is_heard = False

    async def run(self) -> None:
        inbox, heard = self.inbox, self.inbox.beside("heard")
        await log_of(inbox).open()
        self.is_heard = True
        await inbox.store.queues.create(inbox.ref, {"n": 1}, now=inbox.now)
        self.posted += await inbox.post("one", "two", "three")
        self.posted += await inbox.post("delayed", delay=MINUTE)
        await inbox.claim(1, limit=2, ttl=HOUR)
        await inbox.release(1)
        await inbox.claiming(2, limit=1, ttl=MINUTE, dead_letters=inbox.beside("dead").rule(1))
        ids = await inbox.beside("purged").post("x", "y")
        self.posted += ids
        self.gone.update(ids)  # from now on they may be gone
        await inbox.beside("purged").purge()
        await inbox.beside("deleted").post("z")
        await inbox.beside("deleted").drop()
        opened = await log_of(heard).open()
        await heard.post("w")
        await heard.drop()
        await log_of(heard).close(opened.version)
        inbox.clock.advance(seconds=60)
        await sweep_all(inbox.store, inbox.clock)


@pytest.mark.parametrize("last_is_done", [True, False], ids=["after", "before"])
async def test_a_node_that_dies_at_any_command_leaves_nothing_half_done(
    url: str, open_at: Open, last_is_done: bool
) -> None:
    for commands in range(1, MORE_THAN_A_DAY_TAKES):
        place = f"{url}?prefix=crash-{commands}-{last_is_done}:"
        clock = ManualClock()
        first = await open_at(place)
        mortal = Mortal(first._servers, commands, last_is_done=last_is_done)
        first._calls.servers = mortal
        day = Day(first, clock)
        try:
            await day.run()
            is_over = mortal.left > 0
        except Unavailable:
            is_over = False
        await first.close()
        other = await open_at(place)
        await look(day, other, clock)
        await let_everything_end(other, clock)
        await other.close()
        if is_over:
            return
    raise AssertionError("the day does not end")


async def look(day: Day, store: RedisStore, clock: ManualClock) -> None:
    inbox = Inbox(store, clock)
    boxes = [inbox, *(inbox.beside(name) for name in OTHERS)]
    waits = bool(await inbox.next_due())
    clock.advance(seconds=61)
    _, due = await sweep_all(store, clock)
    assert not waits or inbox.ref in due
    found = Counter([message.id for box in boxes for message in await box.all()])
    assert all(count == 1 for count in found.values())
    assert set(day.posted) - day.gone <= set(found)
    for box in boxes:
        stats = await box.stats()
        assert stats.ready + stats.delayed + stats.claimed == len(await box.all())
    listed = {queue.ref for queue in await store.queues.page("acme", after=None, limit=100)}
    assert listed == {box.ref for box in boxes if await box.exists()}
    announced = await log_of(inbox).all()
    assert {message.id for message in announced} <= set(found)
    if day.is_heard:
        assert {one for one in day.posted[:4] if one in found} <= {m.id for m in announced}
    taken = bodies(await inbox.claim(9)) + bodies(await inbox.beside("dead").claim(9))
    assert len(taken) == len(set(taken))


async def let_everything_end(store: RedisStore, clock: ManualClock) -> None:
    """Messages end, queues are deleted, names are forgotten: nothing is left in Redis."""
    inbox = Inbox(store, clock)
    clock.advance(seconds=2 * DAY)
    await sweep_all(store, clock)
    for name in ("inbox", *OTHERS):
        box = inbox.beside(name)
        assert await box.stats() == EMPTY_STATS
        await box.drop()
        opened = await log_of(box).state()
        if opened is not None:
            assert await log_of(box).all() == []
            assert await log_of(box).close(opened.version)
    assert await store.queues.page("acme", after=None, limit=100) == []
    clock.advance(seconds=20 * DAY)
    await sweep_all(store, clock)
    prefix = store._calls.names.listing("").partition("{")[0]
    left = [await lane.call("KEYS", f"{prefix}*") for lane in await store._servers.primaries()]
    assert [key for keys in left for key in keys] == []
