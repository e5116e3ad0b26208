"""What could lose a queue, or lose sight of it, when pools change while others use them."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from nuska.domain.errors import Conflict, InvalidInput, NuskaError
from nuska.domain.messages import QueueRef
from nuska.domain.pools import Pool, masked
from nuska.stores.memory.store import MemoryStore
from nuska.stores.pooled.letters import letter_box
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.conformance.inbox import Inbox, bodies

REF = QueueRef("acme", "inbox")
PASSED = 70
"""Seconds after which no remains of a queue are needed."""


async def test_two_names_for_one_store_do_not_cost_a_queue_its_messages(cluster: Any) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    inbox = cluster.inbox(node)
    await inbox.post("one", "two")
    cluster.stores["b"] = cluster.stores["a"]  # reached by another URI
    await cluster.add_pool("b", weight=0)
    await node.pools.known(afresh=True)
    with pytest.raises(NuskaError):
        await node.mover.move(REF, "b")
    assert bodies(await inbox.all()) == ["one", "two"]


async def test_a_pool_to_which_a_queue_is_being_carried_does_not_go_away(cluster: Any) -> None:
    await cluster.add_pool("a")
    node, other = cluster.node(), cluster.node()
    inbox = cluster.inbox(node)
    await inbox.post("one")
    await cluster.add_pool("b", weight=0)
    await cluster.add_pool("c")
    transfers = cluster.store("b").transfers
    begin = transfers.begin

    async def begin_while_another_removes_the_pool(*args: Any, **more: Any) -> None:
        transfers.begin = begin
        await begin(*args, **more)
        with suppress(Conflict):
            await other.placement.remove_pool("b")

    transfers.begin = begin_while_another_removes_the_pool
    await node.pools.known(afresh=True)
    with suppress(NuskaError):
        await node.mover.move(REF, "b")
    late = cluster.inbox(cluster.node())
    assert bodies(await late.all()) == ["one"]


async def test_a_drain_is_not_ended_by_the_deletion_of_a_queue(cluster: Any) -> None:
    await cluster.add_pool("a")
    node, other = cluster.node(), cluster.node()
    inbox = cluster.inbox(node)
    await inbox.post("one")
    await inbox.beside("later").post("two")
    await cluster.add_pool("b")
    transfers = cluster.store("b").transfers
    begin = transfers.begin

    async def begin_while_another_deletes_the_queue(*args: Any, **more: Any) -> None:
        transfers.begin = begin
        await begin(*args, **more)
        await other.queues.delete(REF, now=cluster.clock.now())

    transfers.begin = begin_while_another_deletes_the_queue
    await node.placement.start_drain("a", "b")
    for _ in range(3):
        node.placement.carriages.step()
        await node.placement.carriages._running
        cluster.clock.advance(seconds=6)
    state = await node.placement.drain_of("a")
    assert (state.state, state.problem) == ("done", "")


async def test_a_pool_with_queues_does_not_become_another_store(cluster: Any) -> None:
    node = cluster.node()
    await node.placement.put_pool(Pool(name="a", uri="a", weight=1))
    await cluster.inbox(node).post("one")
    with pytest.raises(Conflict):
        await node.placement.put_pool(Pool(name="a", uri="elsewhere", weight=1))


async def test_two_drains_do_not_pass_queues_to_each_other(cluster: Any) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b")
    node = cluster.node()
    await node.placement.start_drain("a", "b")
    with pytest.raises(Conflict):
        await node.placement.start_drain("b", "a")


async def test_pools_that_go_at_the_same_time_disturb_nobody(cluster: Any) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b")
    node = cluster.node()

    class Closing:
        async def close(self) -> None:
            await asyncio.sleep(0)

    for name in "ab":
        await node.pools.store(name)
        node.pools._opened[name].store = Closing()
    for name in "ab":
        record = await cluster.store("own").records.get("pools", name)
        await cluster.store("own").records.remove("pools", name, version=record.version)
    await asyncio.gather(*(node.pools.known(afresh=True) for _ in range(3)))


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://user:geheim/sesam@host/db",
        "postgresql://user@tenant:geheim@host/db",
        "postgresql://user:geheim?x@host/db",
        "mysql://user:geheim#x@host/db",
    ],
)
def test_no_part_of_a_password_is_shown(uri: str) -> None:
    assert "geheim" not in masked(uri)
    assert masked(uri).endswith("@host/db")


async def test_no_caller_lists_the_letter_boxes_of_another_project(cluster: Any) -> None:
    box = letter_box(QueueRef("acme", "dead"))
    own = cluster.store("own")
    await own.queues.create(box, {}, now=cluster.clock.now())
    node = cluster.node()
    with pytest.raises(InvalidInput):
        await node.queues.page(box.project, after=None, limit=10, with_metadata=False)
    with pytest.raises(InvalidInput):
        await node.queues.count(box.project)


async def test_letters_from_another_store_under_an_old_name_arrive(cluster: Any) -> None:
    """The clock of the store before was ahead, so positions in the new one are lower."""
    dead_ref = QueueRef("acme", "dead")
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    node = cluster.node()
    dead = cluster.inbox(node, "dead")
    await dead.post("first")
    await node.mover.move(dead_ref, "b")
    box = letter_box(dead_ref)
    ahead = ManualClock()
    ahead.advance(seconds=3600)
    await Inbox(cluster.store("a"), ahead, box.name, box.project).post("old")
    await node.placement._letters.carry(await node.pools.store("a"), dead_ref)
    cluster.stores["a"] = MemoryStore(now=cluster.clock.now(), random_bytes=seeded_bytes(7))
    node.pools._opened.clear()
    await Inbox(cluster.store("a"), cluster.clock, box.name, box.project).post("new")
    await node.placement._letters.carry(await node.pools.store("a"), dead_ref)
    assert bodies(await dead.all()) == ["first", "old", "new"]


async def test_a_queue_without_a_pin_is_not_wiped_by_the_next_post(cluster: Any) -> None:
    """The catalogue was rebuilt, or a store joined that had been in use by itself."""
    await cluster.inbox(cluster.store("a")).post("one")
    await cluster.add_pool("a")
    inbox = cluster.inbox(cluster.node())
    await inbox.post("two")
    assert bodies(await inbox.all()) == ["one", "two"]


async def test_a_deleted_queue_leaves_nothing_in_any_store_wherever_its_mover_died(
    cluster: Any, dying: Any, death: type[BaseException]
) -> None:
    left = []
    for last in range(1, 60):
        one = type(cluster)()
        await one.add_pool("a")
        inbox = one.inbox(one.node())
        await inbox.post("one")
        await one.add_pool("b", weight=0)
        steps = dying()
        node = one.node(steps)
        steps.last = last
        try:
            await node.mover.move(REF, "b")
            break
        except death:
            pass
        one.clock.advance(seconds=11)
        sound = one.node()
        await one.inbox(sound).drop()
        for _ in range(4):
            one.clock.advance(seconds=PASSED)
            sound._clearing._next = 0.0
            await sound.sweep(now=one.clock.now())
        left += [(last, uri) for uri in ("a", "b") if await one.store(uri).transfers.outline(REF)]
        await sound.close()
    assert left == []
