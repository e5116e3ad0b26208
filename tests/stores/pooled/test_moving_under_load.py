"""A queue that moves to and fro while several nodes use it: nothing lost, doubled or reordered."""

from typing import Any

import pytest

from nuska.domain.errors import InvalidInput, Unavailable
from nuska.domain.messages import NewMessage, QueueRef
from nuska.domain.moments import seconds
from nuska.stores.pooled.letters import letter_box
from nuska.stores.pooled.placing import PIN_KEPT, PIN_KEPT_AT_NEED

REF = QueueRef("acme", "inbox")
POSTERS = 3
WORKERS = 3
POSTS_EACH = 60
MOVES = 12
MANY = 900


async def test_nothing_is_lost_doubled_or_reordered_by_moves_under_load_nor_in_the_log(
    cluster: Any, load_on: Any
) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    load = load_on(cluster, POSTERS, WORKERS, POSTS_EACH)
    await load.last_through(MOVES)
    await load.check()


async def test_a_large_queue_is_used_while_most_of_it_is_carried(cluster: Any) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    node = cluster.node()
    inbox = cluster.inbox(node)
    ids = await inbox.post(*(str(number) for number in range(MANY)))
    steps: list[str] = []
    loads = 0

    async def use_it(count: int) -> None:
        nonlocal loads
        loads += 1
        if loads == 1:
            steps.append("used")
            await inbox.claim(1, limit=3)
            await inbox.delete(ids[0], claim=1)
            await inbox.release(1)
            await inbox.delete(ids[700])
            await inbox.claim(2, limit=1)
            await inbox.post("meanwhile")
        assert count

    target = cluster.store("b").transfers
    load = target.load

    async def noticed(*args: Any, **keywords: Any) -> None:
        await load(*args, **keywords)
        if keywords.get("messages"):
            await use_it(len(keywords["messages"]))

    target.load = noticed
    assert await node.mover.move(REF, "b")
    assert steps == ["used"]
    assert await cluster.where() == ["b"]
    expected = [str(number) for number in range(1, MANY) if number != 700]
    assert [message.body.decode().strip('"') for message in await inbox.all()] == [
        *expected,
        "meanwhile",
    ]
    held = await inbox.held(2)
    assert [message.body for message in held.messages] == [b'"1"']
    assert await inbox.counts() == (MANY - 2, 0, 1)


async def test_a_node_that_has_not_heard_of_a_move_follows_it(cluster: Any) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    one, other = cluster.node(), cluster.node()
    await cluster.inbox(one).post("x")
    assert await cluster.inbox(other).listed() == ["x"]
    assert await one.mover.move(REF, "b")
    await cluster.inbox(other).post("y")
    assert await cluster.inbox(other).listed() == ["x", "y"]
    assert await cluster.where() == ["b"]


async def test_a_node_that_has_not_heard_of_a_deletion_finds_the_new_queue(
    cluster: Any,
) -> None:
    await cluster.add_pool("a")
    one, other = cluster.node(), cluster.node()
    await cluster.inbox(one).post("old")
    assert await cluster.inbox(other).listed() == ["old"]
    await cluster.inbox(one).drop()
    assert await cluster.inbox(other).listed() == []
    await cluster.inbox(one).post("new")
    assert await cluster.inbox(other).listed() == ["new"]


async def test_what_remains_of_a_queue_is_cleared_away_when_nobody_can_mean_it(
    cluster: Any,
) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    node = cluster.node()
    await cluster.inbox(node).post("x")
    await node.mover.move(REF, "b")
    await node.sweep(now=cluster.clock.now())
    assert await cluster.store("a").transfers.outline(REF) is not None
    cluster.clock.advance(seconds=61)
    node._clearing._next = 0.0
    await node.sweep(now=cluster.clock.now())
    assert await cluster.store("a").transfers.outline(REF) is None
    assert await cluster.inbox(node).listed() == ["x"]


async def test_a_queue_from_before_there_were_pools_stays_and_can_move(cluster: Any) -> None:
    own = cluster.store("own")
    now = cluster.clock.now()
    for name in ("inbox", "other"):
        await own.messages.add(
            QueueRef("acme", name), [NewMessage(body=b'"x"', ttl=seconds(60))], now=now
        )
    await cluster.add_pool("a")
    node = cluster.node()
    assert await cluster.inbox(node).listed() == ["x"]
    listed = await node.queues.page("acme", after=None, limit=9)
    assert [queue.ref.name for queue in listed] == ["inbox", "other"]
    assert await node.mover.move(REF, "a")
    listed = await node.queues.page("acme", after=None, limit=9)
    assert [queue.ref.name for queue in listed] == ["inbox", "other"]
    assert await node.queues.count("acme") == 2
    assert await cluster.where() == ["a"]
    assert await cluster.inbox(node).listed() == ["x"]


@pytest.mark.parametrize("weights", [(0, 5), (3, 0)])
async def test_new_queues_go_where_weight_is(cluster: Any, weights: tuple[int, int]) -> None:
    for name, weight in zip("ab", weights, strict=True):
        await cluster.add_pool(name, weight=weight)
    node = cluster.node()
    for number in range(10):
        await cluster.inbox(node, f"q{number}").post("x")
    heavy = "ab"[weights.index(max(weights))]
    for number in range(10):
        assert await cluster.where(f"q{number}") == [heavy]


async def test_queues_in_pools_go_on_while_the_catalogue_is_down(cluster: Any) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    inbox = cluster.inbox(node)
    await inbox.post("before")
    records = cluster.store("own").records

    async def down(*_: Any, **__: Any) -> Any:
        raise Unavailable("The catalogue's store does not answer.")

    records.get = records.page = records.put = down
    pin, since = node.placing._kept[REF]
    node.placing._kept[REF] = (pin, since - PIN_KEPT)
    node.pools._known_until = 0.0
    await inbox.post("meanwhile")
    assert await inbox.listed() == ["before", "meanwhile"]
    with pytest.raises(Unavailable):
        await cluster.inbox(node, "unknown").post("x")
    node.placing._kept[REF] = (pin, since - PIN_KEPT_AT_NEED)
    with pytest.raises(Unavailable):
        await inbox.listed()


async def test_no_caller_can_name_a_letter_box(cluster: Any) -> None:
    await cluster.add_pool("a")
    inbox = cluster.inbox(cluster.node(), "graves")
    box = inbox.beside(project=letter_box(inbox.ref).project)
    with pytest.raises(InvalidInput):
        await box.post("x")
    with pytest.raises(InvalidInput):
        await box.listed()
