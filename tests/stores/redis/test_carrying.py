"""Carrying queues on Redis: letters between hash slots that meet a fence, claims and posts by
name though they are kept by time, and a carrier that dies at any of its commands.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from nuska.domain.errors import QueueAway, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.redis import ordered
from nuska.stores.redis.names import tag
from nuska.stores.redis.store import RedisStore
from nuska.testing.clock import ManualClock
from nuska.testing.conformance.inbox import HOUR, MINUTE, Inbox, bodies, sweep_all
from nuska.testing.conformance.transfers import carry
from nuska.testing.mortal_servers import Mortal
from nuska.testing.redis_server import redis_cluster

Open = Callable[[str], Awaitable[RedisStore]]
EPOCH = 3
DAY = 86_400
MORE_THAN_A_CARRIAGE_TAKES = 200
OUTBOX_RETRY = 2
"""Seconds after which a letter that could not arrive has certainly been tried again."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster.url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def inbox(cluster: str, open_at: Open, clock: ManualClock, tmp_path: object) -> Inbox:
    return Inbox(await open_at(f"{cluster}?prefix=carrying-{hash(tmp_path)}:"), clock)


def store_of(inbox: Inbox) -> RedisStore:
    assert isinstance(inbox.store, RedisStore)
    return inbox.store


async def bury_behind_a_fence(inbox: Inbox, graves: Inbox, *names: str) -> None:
    await inbox.post(*names)
    await store_of(inbox).transfers.fence(graves.ref, epoch=EPOCH, now=inbox.now)
    while (await inbox.claiming(1, dead_letters=graves.rule(0))).dead_lettered:
        pass
    assert await inbox.all() == []


async def test_letters_that_wait_at_a_fence_hold_up_no_others(inbox: Inbox) -> None:
    graves, others = inbox.beside("graves"), inbox.beside("others")
    await bury_behind_a_fence(inbox, graves, *(f"waits {number}" for number in range(150)))
    await inbox.post("goes on")
    await inbox.claim(2, dead_letters=others.rule(0))
    assert await others.listed() == ["goes on"]
    await store_of(inbox).transfers.open(graves.ref, epoch=EPOCH, now=inbox.now)
    inbox.clock.advance(seconds=OUTBOX_RETRY)
    await sweep_all(inbox.store, inbox.clock)
    assert await graves.listed() == [f"waits {number}" for number in range(150)]
    assert await others.listed() == ["goes on"]


async def test_a_source_that_is_fenced_sends_its_letters_on_first(inbox: Inbox) -> None:
    transfers, graves = store_of(inbox).transfers, inbox.beside("graves")
    await bury_behind_a_fence(inbox, graves, "one", "two")
    await transfers.open(graves.ref, epoch=EPOCH, now=inbox.now)
    await transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
    assert await graves.listed() == ["one", "two"]
    await transfers.forget(inbox.ref, epoch=EPOCH, now=inbox.now)
    await sweep_all(inbox.store, inbox.clock)
    assert await graves.listed() == ["one", "two"]


async def test_a_claim_changes_nothing_when_the_fence_is_in_its_hash_slot(inbox: Inbox) -> None:
    graves = inbox.beside(name_in_the_slot_of(inbox.ref))
    await inbox.post("one")
    await store_of(inbox).transfers.fence(graves.ref, epoch=EPOCH, now=inbox.now)
    with pytest.raises(QueueAway):
        await inbox.claim(1, dead_letters=graves.rule(0))
    assert await inbox.listed() == ["one"]


async def test_a_fence_that_comes_between_two_calls_of_a_post_stops_it(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(inbox)
    servers = store._calls.servers
    call_after = servers.call_after

    async def fence_first(*call: Any) -> Any:
        monkeypatch.undo()
        await store.transfers.fence(inbox.ref, epoch=EPOCH, now=inbox.now)
        return await call_after(*call)

    monkeypatch.setattr(servers, "call_after", fence_first)
    with pytest.raises(QueueAway):
        await inbox.post("too late")
    dumped = await store.transfers.dump(inbox.ref, after=BEFORE_ALL, limit=9, now=inbox.now)
    assert dumped == []


def name_in_the_slot_of(queue: QueueRef) -> str:
    number = 0
    while key_slot(tag(QueueRef(queue.project, f"graves-{number}")).encode()) != key_slot(
        tag(queue).encode()
    ):
        number += 1
    return f"graves-{number}"


async def test_claims_and_posts_are_dumped_by_name_a_stretch_at_a_time(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordered, "KEPT", 7)
    monkeypatch.setattr(ordered, "LOOKED_AT", 5)
    for number in range(40):
        await inbox.add("x", key=f"key {number * 7 % 40}", ttl=HOUR)
        await inbox.claim(number * 11 % 40 + 1, limit=1, ttl=HOUR)
        inbox.clock.advance(milliseconds=10)
    transfers = store_of(inbox).transfers
    claims, posts = [], []
    while page := await transfers.dump_claims(
        inbox.ref, after=claims[-1] if claims else "", limit=3
    ):
        claims += [lease.claim_id for lease in page]
    while found := await transfers.dump_posts(inbox.ref, after=posts[-1] if posts else "", limit=3):
        posts += [post.key for post in found]
    assert claims == sorted(claims)
    assert len(set(claims)) == 40
    assert posts == sorted(f"key {number}" for number in range(40))


@pytest.mark.parametrize("last_is_done", [True, False], ids=["after", "before"])
async def test_a_carrier_that_dies_at_any_command_can_be_followed_by_another(
    cluster: str, open_at: Open, last_is_done: bool
) -> None:
    for commands in range(1, MORE_THAN_A_CARRIAGE_TAKES):
        clock = ManualClock()
        place = f"{cluster}?prefix=carrier-{last_is_done}-{commands}"
        here, there = await open_at(f"{place}-here:"), await open_at(f"{place}-there:")
        inbox = await full(Inbox(here, clock))
        before = await contents(inbox)
        mortal = Mortal(here._servers, commands, last_is_done=last_is_done)
        here._calls.servers = there._calls.servers = mortal
        try:
            await carry(inbox, there, EPOCH)
            is_over = mortal.left > 0
        except Unavailable:
            is_over = False
        here._calls.servers = here._servers
        there._calls.servers = there._servers
        carried = await carry_on(inbox, there)
        assert await contents(carried) == before
        await let_it_all_end(carried, here, there)
        await here.close()
        await there.close()
        if is_over:
            return
    raise AssertionError("the carriage does not end")


async def full(inbox: Inbox) -> Inbox:
    await inbox.store.queues.create(inbox.ref, {"n": 1}, now=inbox.now)
    await inbox.add("one", "two", "three", key="once", ttl=HOUR)
    await inbox.claim(1, limit=1, ttl=MINUTE)
    await inbox.post("delayed", delay=MINUTE)
    return inbox


async def contents(inbox: Inbox) -> list[object]:
    listed = await inbox.store.queues.page("acme", after=None, limit=9)
    return [
        [(queue.ref, queue.metadata) for queue in listed],
        await inbox.all(),
        await inbox.held(1),
        await inbox.next_due(),
    ]


async def carry_on(inbox: Inbox, there: RedisStore) -> Inbox:
    """What another does: what has been opened there is there, all else is begun again."""
    found = await there.transfers.outline(inbox.ref)
    if found is not None and not found.fenced:
        return inbox.after_reopening(there)
    return await carry(inbox, there, EPOCH + 1)


async def let_it_all_end(inbox: Inbox, here: RedisStore, there: RedisStore) -> None:
    """The fence goes, everything is due and over, and nothing is left on either side."""
    for epoch in (EPOCH, EPOCH + 1):
        await here.transfers.forget(inbox.ref, epoch=epoch, now=inbox.now)
    assert await here.queues.page("acme", after=None, limit=9) == []
    inbox.clock.advance(seconds=60)
    _, due = await sweep_all(there, inbox.clock)
    assert inbox.ref in due
    assert bodies(await inbox.pop()) == ["one", "two", "three", "delayed"]
    assert await there.transfers.dump(inbox.ref, after=BEFORE_ALL, limit=9, now=inbox.now) == []
    await inbox.drop()
    assert await there.queues.page("acme", after=None, limit=9) == []
    inbox.clock.advance(seconds=20 * DAY)
    for store in (here, there):
        await sweep_all(store, inbox.clock)
        prefix = store._calls.names.listing("").partition("{")[0]
        for lane in await store._servers.primaries():
            assert await lane.call("KEYS", f"{prefix}*") == []
