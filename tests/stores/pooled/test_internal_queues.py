"""Queues of the service itself lie in the own store; topics lie where queues do."""

from typing import Any

from nuska.domain.internal import internal, topic
from nuska.domain.messages import QueueRef
from nuska.stores.pooled.catalogue import key_of
from nuska.testing.conformance.inbox import Inbox, bodies

REF = QueueRef("acme", "inbox")
RETRIES = internal("retries", REF)
DEAD = internal("dead", topic("acme", "inbox"))


def at(node: Any, cluster: Any, ref: QueueRef) -> Inbox:
    return Inbox(node, cluster.clock, ref.name, ref.project)


async def test_a_queue_of_the_service_lies_in_the_own_store_without_a_pin(cluster: Any) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    retries = at(node, cluster, RETRIES)
    await retries.post("one", "two")
    assert bodies(await retries.claim(1, limit=1)) == ["one"]
    assert await retries.counts() == (1, 0, 1)
    own = cluster.store("own")
    assert [queue.ref for queue in await own.queues.page(RETRIES.project, after=None, limit=9)] == [
        RETRIES
    ]
    assert await node.catalogue.pin(RETRIES) is None
    assert await own.records.get("in\x1fown", key_of(RETRIES)) is None
    assert await node.queues.count("acme") == 0
    assert await node.queues.page("acme", after=None, limit=9) == []
    assert await node.queues.count(RETRIES.project) == 1
    assert [q.ref for q in await node.queues.page(RETRIES.project, after=None, limit=9)] == [
        RETRIES
    ]
    await retries.drop()
    assert not await retries.exists()
    assert await node.queues.create(RETRIES, {"k": 1}, now=cluster.clock.now())
    assert (await node.queues.get(RETRIES)).metadata == {"k": 1}


async def test_a_topic_is_placed_like_a_queue_beside_the_queue_of_its_name(cluster: Any) -> None:
    await cluster.add_pool("a")
    await cluster.add_pool("b", weight=0)
    node = cluster.node()
    news = at(node, cluster, topic("acme", "inbox"))
    await news.post("published")
    assert await cluster.inbox(node).listed() == []
    assert await node.mover.move(news.ref, "b")
    assert await news.listed() == ["published"]
    assert (await cluster.store("b").transfers.outline(news.ref)) is not None
    assert await node.queues.count(news.ref.project) == 1


async def test_a_dead_letter_goes_from_a_pool_to_a_queue_of_the_service(cluster: Any) -> None:
    await cluster.add_pool("a")
    node = cluster.node()
    news, dead = at(node, cluster, topic("acme", "inbox")), at(node, cluster, DEAD)
    await news.post("poison")
    await news.claim(1, dead_letters=dead.rule(0))
    assert await dead.listed() == ["poison"]
    retries = at(node, cluster, RETRIES)
    await retries.post("worse")
    await retries.claim(2, dead_letters=dead.rule(0))
    assert await dead.listed() == ["poison", "worse"]
