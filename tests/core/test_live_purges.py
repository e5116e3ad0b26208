"""Subscriptions of connections end everywhere when somebody purges them on one node."""

from collections.abc import AsyncIterator

import pytest

from nuska.core import build_core
from nuska.core.connected import Connected, ConnectionDraft
from nuska.domain.internal import topic
from nuska.domain.messages import QueueRef
from nuska.interfaces.identity import Caller
from nuska.stores.memory.store import MemoryStore
from nuska.testing.clock import ManualClock, seeded_bytes
from nuska.testing.live import Ear, LiveBench

JOBS = QueueRef("acme", "jobs")
ACME = Caller(project="acme", client=b"c" * 16)


class Node(LiveBench):
    """One of several on a store."""

    others: "list[Node]"

    def __init__(self, store: MemoryStore, clock: ManualClock, seed: int) -> None:
        def tell(queue: QueueRef, messages: int) -> None:
            for other in self.others:
                other.core.wakeups.hear(queue, messages)

        core = build_core(store=store, clock=clock, random_bytes=seeded_bytes(seed), tell=tell)
        super().__init__(store, clock, core=core)
        self.ended: list[str] = []

    async def connect(self, *queues: str) -> Connected:
        made: list[Connected] = []
        draft = ConnectionDraft(
            connection="one",
            queues=queues or ("jobs",),
            options={},
            ended=lambda: self.ended.append(made[0].id),
        )
        made.append(await self.core.connected.create(ACME, draft, Ear()))
        made[0].listening.go_on()
        return made[0]

    def has(self, connected: Connected) -> bool:
        return self.core.connected.get(JOBS, connected.id) is not None


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def nodes(clock: ManualClock) -> AsyncIterator[list[Node]]:
    store = MemoryStore(now=clock.now(), random_bytes=seeded_bytes())
    nodes = [Node(store, clock, seed) for seed in (1, 2)]
    for node in nodes:
        node.others = [other for other in nodes if other is not node]
    yield nodes
    for node in nodes:
        await node.live.stop()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at every hint."""
    monkeypatch.setattr("nuska.core.live_purges.LOOKED_FOR_EVERY", 0.0)


async def purge(node: Node) -> None:
    await node.core.subscriptions.purge(ACME, "jobs")


async def test_a_purge_on_one_node_ends_what_was_there_on_all(nodes: list[Node]) -> None:
    one, two = nodes
    here, there = await one.connect(), await two.connect()
    both = await two.connect("jobs", "news")
    elsewhere = await two.connect("news")
    await purge(one)
    assert one.ended == [here.id]
    await two.settled()
    assert sorted(two.ended) == sorted([there.id, both.id])
    assert elsewhere.listening.closed is False


@pytest.mark.parametrize("at", [0, 1])
async def test_who_subscribes_after_a_purge_was_answered_stays(nodes: list[Node], at: int) -> None:
    """Also at a node that has not looked yet, at the same moment, with nothing posted between."""
    await nodes[1].connect()
    await purge(nodes[0])
    later = await nodes[at].connect()
    for node in nodes:
        await node.settled()
        await node.settled()
    assert nodes[at].has(later)
    await purge(nodes[1 - at])
    await nodes[at].settled()
    assert not nodes[at].has(later)


async def test_who_subscribes_where_nobody_has_looked_since_the_purge_stays(
    nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = nodes
    before = await two.connect()
    await two.settled()
    monkeypatch.setattr("nuska.core.live_purges.LOOKED_FOR_EVERY", 1000.0)
    await purge(one)
    later = await two.connect()
    monkeypatch.setattr("nuska.core.live_purges.LOOKED_FOR_EVERY", 0.0)
    await two.settled()
    assert (two.has(before), two.has(later)) == (False, True)


async def test_a_topics_purge_leaves_the_queue_of_its_name(nodes: list[Node]) -> None:
    one, two = nodes
    here = await two.connect()
    await two.listen(topic("acme", "jobs"))
    await one.core.topic_subscriptions.purge(ACME, "jobs")
    await two.settled()
    assert two.has(here)


async def test_nothing_is_written_where_nobody_listens(nodes: list[Node]) -> None:
    await purge(nodes[0])
    assert await nodes[0].store.records.page("listened", limit=9) == []


async def test_a_hint_that_is_lost_costs_a_look(nodes: list[Node]) -> None:
    one, two = nodes
    there = await two.connect()
    one.others = []
    await purge(one)
    assert two.has(there)
    two.live.look()
    await two.settled()
    assert not two.has(there)
