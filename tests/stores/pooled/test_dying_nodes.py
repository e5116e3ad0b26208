"""A node may die at any call it makes to a store: others finish or undo what it was doing."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from nuska.domain.messages import QueueRef
from nuska.testing.conformance.announcements import Log
from nuska.testing.conformance.inbox import HOUR, Inbox, bodies

REF = QueueRef("acme", "inbox")
LEASE_AND_MORE = 11
"""Seconds."""
STEPS_AT_MOST = 200

Do = Callable[[Any], Awaitable[object]]


async def each_step(
    make_cluster: Callable[[], Awaitable[Any]],
    do: Do,
    steps_of: Any,
    death: type[BaseException],
    check: Callable[[Any, int], Awaitable[None]],
) -> int:
    """Let a node die at the first, second … call, before and after it takes effect."""
    for last in range(1, STEPS_AT_MOST):
        for done_first in (False, True):
            cluster = await make_cluster()
            steps = steps_of()
            node = cluster.node(steps)
            steps.last, steps.done_first = last, done_first
            with suppress(death):
                await do(node)
            if steps.taken < last:
                return last
            cluster.clock.advance(seconds=LEASE_AND_MORE)
            await check(cluster, last)
    raise AssertionError("it never came to an end")


@pytest.fixture
def a_full_queue(cluster: Any) -> Callable[[], Awaitable[Any]]:
    async def make() -> Any:
        full = type(cluster)()
        await full.add_pool("a")
        inbox = full.inbox(full.node())
        await log_of(inbox).open()
        await inbox.post(*"abcdefgh")
        await inbox.claim(1, limit=2, ttl=HOUR, grace=HOUR)
        await inbox.post("delayed", delay=HOUR)
        await full.add_pool("b", weight=0)
        return full

    return make


async def as_it_was(cluster: Any) -> Inbox:
    """The queue is open in one place and has all it had, once and in order, as has its log."""
    inbox: Inbox = cluster.inbox(cluster.node())
    assert bodies(await inbox.all()) == [*"abcdefgh", "delayed"]
    assert await inbox.counts() == (6, 1, 2)
    held = await inbox.held(1)
    assert held is not None
    assert bodies(held.messages) == ["a", "b"]
    assert await log_of(inbox).bodies() == [*"abcdefgh", "delayed"]
    assert len(await cluster.where()) == 1
    return inbox


def log_of(inbox: Inbox) -> Log:
    store: Any = inbox.store
    return Log(store, inbox)


async def test_a_move_that_is_broken_off_anywhere_loses_nothing_and_can_be_made_again(
    a_full_queue: Any, dying: Any, death: Any
) -> None:
    async def move(node: Any) -> None:
        assert await node.mover.move(REF, "b")

    async def check(cluster: Any, _: int) -> None:
        inbox = await as_it_was(cluster)
        await inbox.store.mover.move(REF, "b")  # type: ignore[attr-defined]
        assert await cluster.where() == ["b"]
        await as_it_was(cluster)
        await inbox.post("later")
        assert await inbox.listed() == [*"cdefgh", "later"]
        assert await log_of(inbox).bodies() == [*"abcdefgh", "delayed", "later"]

    assert await each_step(a_full_queue, move, dying, death, check) > 20


async def test_a_deletion_that_is_broken_off_leaves_all_or_nothing(
    a_full_queue: Any, dying: Any, death: Any
) -> None:
    async def delete(node: Any) -> None:
        await node.queues.delete(REF, now=node.placing.clock.now())

    async def check(cluster: Any, _: int) -> None:
        inbox = cluster.inbox(cluster.node())
        if await inbox.exists():
            await as_it_was(cluster)
        else:
            assert await inbox.all() == []
            await inbox.post("new")
            assert bodies(await inbox.all()) == ["new"]
            assert await log_of(inbox).bodies() == ["new"]

    assert await each_step(a_full_queue, delete, dying, death, check) > 5


async def test_a_queue_whose_making_is_broken_off_can_be_made_by_others(
    cluster: Any, dying: Any, death: Any
) -> None:
    async def two_pools() -> Any:
        empty = type(cluster)()
        await empty.add_pool("a")
        await empty.add_pool("b")
        await log_of(empty.inbox(empty.node())).open()
        return empty

    async def create(node: Any) -> None:
        await node.queues.create(REF, {"k": 1}, now=node.placing.clock.now())

    async def check(cluster: Any, _: int) -> None:
        inbox = cluster.inbox(cluster.node())
        await inbox.post("x")
        assert await inbox.listed() == ["x"]
        assert await log_of(inbox).bodies() == ["x"]
        assert await inbox.store.queues.count("acme") == 1
        assert len(await cluster.where()) == 1

    assert await each_step(two_pools, create, dying, death, check) > 5


@pytest.mark.parametrize("exists", [True, False])
async def test_a_log_whose_opening_or_closing_is_broken_off_can_be_opened_or_closed_by_others(
    cluster: Any, dying: Any, death: Any, exists: bool
) -> None:
    async def a_queue() -> Any:
        one = type(cluster)()
        await one.add_pool("a")
        if exists:
            await one.inbox(one.node()).post("before")
        return one

    async def open_and_close(node: Any) -> None:
        log = log_of(Inbox(node, node.placing.clock))
        assert await log.close((await log.open()).version)

    async def check(cluster: Any, last: int) -> None:
        inbox = cluster.inbox(cluster.node())
        log = log_of(inbox)
        left = await log.state()
        assert left is None or await log.close(left.version)
        await inbox.post("unheard")
        assert await log.bodies() == []
        if last % 2:
            await inbox.drop()
        await log.open()
        await inbox.post("heard")
        assert await log.bodies() == ["heard"]

    assert await each_step(a_queue, open_and_close, dying, death, check) > 5


async def test_dead_letters_arrive_once_wherever_their_carrier_dies(
    cluster: Any, dying: Any, death: Any
) -> None:
    async def letters_to_come() -> Any:
        apart = type(cluster)()
        await apart.add_pool("a")
        inbox = apart.inbox(apart.node())
        await inbox.post("one", "two", "three")
        await apart.add_pool("b", weight=10**6)
        return apart

    async def claim(node: Any) -> None:
        inbox = Inbox(node, node.placing.clock)
        await inbox.claim(1, dead_letters=inbox.beside("graves").rule(0))

    async def check(cluster: Any, _: int) -> None:
        node = cluster.node()
        inbox = cluster.inbox(node)
        graves = inbox.beside("graves")
        for _ in range(3):
            await node.sweep(now=cluster.clock.now())
            node._clearing._next = 0.0
        stored = sorted(await inbox.listed() + await graves.listed())
        assert stored == ["one", "three", "two"]
        await inbox.claim(2, dead_letters=graves.rule(0))
        assert await graves.listed() == ["one", "two", "three"]
        assert await inbox.all() == []

    assert await each_step(letters_to_come, claim, dying, death, check) > 10


async def test_a_drain_goes_on_where_its_node_died(cluster: Any, dying: Any, death: Any) -> None:
    async def queues_in_a() -> Any:
        many = type(cluster)()
        await many.add_pool("a")
        node = many.node()
        for name in ("one", "two", "three"):
            await many.inbox(node, name).post(name)
        await many.add_pool("b")
        return many

    async def drain(node: Any) -> None:
        await node.placement.start_drain("a", None)
        await node.placement.carriages._run_waiting()

    async def check(cluster: Any, _: int) -> None:
        node = cluster.node()
        if await node.placement.drain_of("a") is None:
            await node.placement.start_drain("a", None)
        await node.placement.carriages._run_waiting()
        for name in ("one", "two", "three"):
            assert await cluster.inbox(node, name).listed() == [name]
            assert await cluster.where(name) == ["b"]
        await node.placement.remove_pool("a")
        assert await node.placement.pool("a") is None

    assert await each_step(queues_in_a, drain, dying, death, check) > 30


async def test_a_node_that_was_only_slow_does_no_harm_when_it_goes_on(
    a_full_queue: Any, dying: Any, death: Any
) -> None:
    """It stands still in the middle of a move; others undo the move, use the queue, and move
    it themselves; then it goes on."""
    for stop_at in range(1, STEPS_AT_MOST):
        cluster = await a_full_queue()
        steps = dying()
        node = cluster.node(steps)
        resume, stopped = asyncio.Event(), asyncio.Event()
        original = steps.take

        async def take(
            call: Any,
            original: Any = original,
            steps: Any = steps,
            stop_at: int = stop_at,
            stopped: Any = stopped,
            resume: Any = resume,
        ) -> Any:
            if steps.taken + 1 == stop_at:
                stopped.set()
                await resume.wait()
            return await original(call)

        steps.take = take
        moving = asyncio.create_task(node.mover.move(REF, "b"))
        waiting = asyncio.create_task(stopped.wait())
        await asyncio.wait([moving, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not stopped.is_set():
            waiting.cancel()
            assert stop_at > 20
            return
        cluster.clock.advance(seconds=LEASE_AND_MORE)
        inbox = await as_it_was(cluster)
        await inbox.post("meanwhile")
        popped = await inbox.pop(1)
        assert bodies(popped) == ["c"]
        resume.set()
        await asyncio.wait([moving])
        moving.exception()
        cluster.clock.advance(seconds=LEASE_AND_MORE)
        after = cluster.inbox(cluster.node())
        assert bodies(await after.all()) == [*"abdefgh", "delayed", "meanwhile"]
        assert await log_of(after).bodies() == [*"abcdefgh", "delayed", "meanwhile"]
        assert len(await cluster.where()) == 1
