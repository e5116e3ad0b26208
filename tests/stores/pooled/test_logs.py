"""Announcement logs of queues in pools: heard wherever the queue lies, carried where it goes."""

from typing import Any

import pytest

from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.domain.positions import BEFORE_ALL
from nuska.stores.pooled.catalogue import LOGS, key_of
from nuska.testing.conformance.announcements import Log

REF = QueueRef("acme", "inbox")
MANY = 450


@pytest.fixture
async def two_pools(cluster: Any) -> Any:
    """``b`` gets no queue unless one is moved there."""
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    return cluster


def log_at(node: Any, cluster: Any) -> Log:
    return Log(node, cluster.inbox(node))


async def test_a_log_stays_open_when_its_queue_is_made_again_in_another_pool(
    two_pools: Any,
) -> None:
    node = two_pools.node()
    inbox, log = two_pools.inbox(node), log_at(node, two_pools)
    opened = await log.open()
    await inbox.post("in a")
    await inbox.drop()
    for name, weight in (("a", 0), ("b", 10)):
        pool = await node.placement.pool(name)
        await node.placement.put_pool(type(pool)(name=name, uri=name, weight=weight))
    await inbox.post("in b")
    assert await two_pools.where() == ["b"]
    assert await log.bodies() == ["in b"]
    assert await log.close(opened.version)
    await inbox.post("unheard")
    assert await log.bodies() == []


async def test_a_moved_queue_has_its_log_with_it_and_the_version_goes_on(two_pools: Any) -> None:
    node, other = two_pools.node(), two_pools.node()
    inbox, log = two_pools.inbox(node), log_at(node, two_pools)
    opened = await log.open()
    await inbox.post(*"abc")
    await inbox.pop()
    before = await log.all()
    assert await node.mover.move(REF, "b")
    assert await log_at(other, two_pools).all() == before
    seen = await log.state()
    assert (seen.version, seen.last) == (opened.version, before[-1].position)
    await two_pools.inbox(other).post("d")
    assert await log.bodies() == [*"abcd"]
    assert await log.close(opened.version)
    assert await node.mover.move(REF, "a")
    assert await log.bodies() == []


async def test_a_queue_without_an_open_log_has_none_after_a_move(two_pools: Any) -> None:
    node = two_pools.node()
    inbox, log = two_pools.inbox(node), log_at(node, two_pools)
    await inbox.post("a")
    assert await node.mover.move(REF, "b")
    await inbox.post("b")
    assert await log.state() is None
    assert await log.bodies() == []


@pytest.mark.parametrize("what", ["post", "trim", "trim all", "purge", "close", "reopen"])
async def test_what_is_done_to_a_long_log_while_it_is_carried_holds_afterwards(
    two_pools: Any, what: str
) -> None:
    node = two_pools.node()
    inbox, log = two_pools.inbox(node), log_at(node, two_pools)
    opened = await log.open()
    await inbox.post(*(str(number) for number in range(MANY)))
    announced = await log.all()
    target = two_pools.store("b").transfers
    load, done = target.load, False

    async def use_it(*args: Any, **keywords: Any) -> None:
        nonlocal done
        await load(*args, **keywords)
        if keywords.get("log") and not done:
            done = True
            match what:
                case "trim":
                    await log.trim(announced[9].position)
                case "trim all":
                    await log.trim(announced[-1].position)
                case "purge":
                    await inbox.purge()
                case "close" | "reopen":
                    assert await log.close(opened.version)
            if what == "reopen":
                await log.open()
            await inbox.post("last")

    target.load = use_it
    assert await node.mover.move(REF, "b")
    assert done
    kept = {"post": announced, "trim": announced[10:]}.get(what, [])
    last = [] if what == "close" else ["last"]
    assert [m.position for m in await log.all()][: len(kept)] == [m.position for m in kept]
    assert (await log.bodies())[len(kept) :] == last
    assert (await inbox.listed())[-1] == "last"


async def test_a_log_from_before_there_were_pools_is_found_and_carried_away(cluster: Any) -> None:
    own, now = cluster.store("own"), cluster.clock.now()
    unmade = QueueRef("acme", "unmade")
    for queue in (REF, unmade):
        await own.announcements.open(queue, now=now)
    await own.messages.add(REF, [NewMessage(body=b'"x"', ttl=seconds(60))], now=now)
    await cluster.add_pool("a")
    node = cluster.node()
    log = log_at(node, cluster)
    assert await log.bodies() == ["x"]
    assert await node.mover.move(REF, "a")
    inbox = cluster.inbox(node)
    await inbox.drop()
    await inbox.post("y")
    assert await log.bodies() == ["y"]
    await cluster.inbox(node, "unmade").post("z")
    assert await log.of(cluster.inbox(node, "unmade")).bodies() == ["z"]


async def test_a_log_that_was_only_written_down_is_opened_by_who_looks(two_pools: Any) -> None:
    node = two_pools.node()
    inbox, log = two_pools.inbox(node), log_at(node, two_pools)
    await inbox.post("before")
    await two_pools.store("own").records.put(LOGS, key_of(REF), b"", version="")
    assert await log.state() is not None
    await inbox.post("after")
    assert await log.bodies() == ["after"]


async def test_a_log_of_a_queue_that_is_made_while_it_opens_or_closes(two_pools: Any) -> None:
    """The maker has written its pin, and looks for the log, at any of the steps."""
    one, other = two_pools.node(), two_pools.node()
    log = log_at(one, two_pools)
    records = two_pools.store("own").records
    put, remove = records.put, records.remove

    async def put_and_post(collection: str, *rest: Any, **keywords: Any) -> Any:
        done = await put(collection, *rest, **keywords)
        if collection == LOGS:
            await two_pools.inbox(other).post("heard")
        return done

    async def post_and_remove(collection: str, *rest: Any, **keywords: Any) -> Any:
        if collection == LOGS:
            await two_pools.inbox(other).post("made by then")
        return await remove(collection, *rest, **keywords)

    records.put = put_and_post
    opened = await log.open()
    records.put = put
    await two_pools.inbox(other).post("later")
    assert (await log.bodies(after=opened.last))[-1] == "later"
    await two_pools.inbox(other).drop()
    records.remove = post_and_remove
    assert await log.close(opened.version)
    records.remove = remove
    assert await log.state() is None
    dumped = await two_pools.store("a").transfers.dump_log(
        REF, after=BEFORE_ALL, limit=9, now=two_pools.clock.now()
    )
    assert dumped == []
