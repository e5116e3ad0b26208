"""Pools and flavors as an operator changes them."""

from typing import Any

import pytest

from nuska.core.subscription_records import SubscriptionRecords
from nuska.domain.errors import Conflict, InvalidInput, NotAllowed, NotFound, Unavailable
from nuska.domain.messages import QueueRef
from nuska.domain.moments import after, seconds
from nuska.domain.pools import OWN, Flavor, Pool, Whereabouts
from nuska.domain.positions import BEFORE_ALL
from nuska.domain.subscriptions import Subscription, SubscriptionId
from nuska.interfaces.records import ABSENT

REF = QueueRef("acme", "inbox")


def pool(name: str, *, uri: str = "", weight: int = 1, flavor: str | None = None) -> Pool:
    return Pool(name=name, uri=uri or name, weight=weight, flavor=flavor)


def take_down(node: Any, *names: str) -> None:
    """Whoever opens these pools finds them down; those that are open are forgotten."""
    original = node.pools._open_store

    async def open_store(uri: str) -> Any:
        if uri in names:
            raise Unavailable("It is down.")
        return await original(uri)

    node.pools._opened.clear()
    node.pools._open_store = open_store


@pytest.fixture
def node(cluster: Any) -> Any:
    return cluster.node()


async def names(node: Any) -> list[str]:
    return [pool.name for pool in await node.placement.pools(after="", limit=100)]


async def test_pools_are_listed_by_name_and_replaced_whole(node: Any) -> None:
    await node.placement.put_pool(pool("b", flavor="fast"))
    await node.placement.put_pool(pool("a"))
    await node.placement.put_pool(pool("b", weight=7))
    assert await names(node) == ["a", "b"]
    found = await node.placement.pool("b")
    assert (found.weight, found.flavor) == (7, None)
    assert [one.name for one in await node.placement.pools(after="a", limit=5)] == ["b"]
    assert await node.placement.pool("c") is None


async def test_a_uri_belongs_to_one_pool(node: Any) -> None:
    await node.placement.put_pool(pool("a", uri="store"))
    with pytest.raises(Conflict):
        await node.placement.put_pool(pool("b", uri="store"))


async def test_the_catalogues_own_store_cannot_be_a_pool(node: Any) -> None:
    with pytest.raises(InvalidInput):
        await node.placement.put_pool(pool("a", uri="own"))
    assert await names(node) == []


async def test_the_only_pool_of_a_flavor_stays(node: Any) -> None:
    await node.placement.put_pool(pool("a", flavor="fast"))
    with pytest.raises(NotAllowed):
        await node.placement.remove_pool("a")
    await node.placement.put_pool(pool("b", flavor="fast"))
    await node.placement.remove_pool("a")
    assert await names(node) == ["b"]


async def test_a_pool_with_messages_stays_and_takes_queues_as_before(
    node: Any, cluster: Any
) -> None:
    await node.placement.put_pool(pool("a", weight=3))
    await cluster.inbox(node).post("x", "y")
    await cluster.inbox(node, "empty").post("z")
    await cluster.inbox(node, "empty").pop()
    with pytest.raises(Conflict, match=r"2 messages .* hold some: 1"):
        await node.placement.remove_pool("a")
    assert (await node.placement.pool("a")).weight == 3
    assert await cluster.inbox(node).listed() == ["x", "y"]


async def test_a_pool_whose_queues_have_subscriptions_stays_until_it_is_drained(
    node: Any, cluster: Any
) -> None:
    await node.placement.put_pool(pool("a"))
    await cluster.inbox(node).post("x")
    await cluster.inbox(node).pop()
    records, now = SubscriptionRecords(node.records), cluster.clock.now()
    for number, ttl in enumerate((60, 3600, 3600)):
        await records.put_subscription(
            Subscription(
                id=SubscriptionId(f"{number:024x}"),
                queue=REF,
                subscriber=f"http://h/{number}",
                ttl=seconds(ttl),
                options={},
                created_at=now,
                restarted_at=now,
                expires_at=after(now, seconds(ttl)),
                since=BEFORE_ALL,
            ),
            version=ABSENT,
        )
    cluster.clock.advance(seconds=60)
    with pytest.raises(Conflict, match=r"0 messages and 2 subscriptions .* hold some: 1"):
        await node.placement.remove_pool("a")
    await node.placement.put_pool(pool("b"))
    await node.placement.start_drain("a", None)
    await node.placement.carriages._run_waiting()
    await node.placement.remove_pool("a")
    assert await names(node) == ["b"]
    assert await cluster.where() == ["b"]


async def test_empty_queues_of_a_removed_pool_are_placed_anew(node: Any, cluster: Any) -> None:
    await node.placement.put_pool(pool("a"))
    await node.queues.create(REF, {"k": 1}, now=cluster.clock.now())
    await node.placement.remove_pool("a")
    assert await names(node) == []
    assert (await node.queues.get(REF)).metadata == {"k": 1}
    assert await cluster.where() == ["own"]
    await node.placement.remove_pool("a")


async def test_a_flavor_is_the_pools_that_say_so(node: Any) -> None:
    for name in "abc":
        await node.placement.put_pool(pool(name))
    await node.placement.put_flavor(Flavor(name="fast", pools=("a", "b")))
    await node.placement.put_flavor(Flavor(name="slow", pools=("b", "c")))
    assert await node.placement.flavor("fast") == Flavor(name="fast", pools=("a",))
    assert await node.placement.flavors(after="", limit=9) == [
        Flavor(name="fast", pools=("a",)),
        Flavor(name="slow", pools=("b", "c")),
    ]
    await node.placement.remove_flavor("slow")
    assert await node.placement.flavor("slow") is None
    assert (await node.placement.pool("b")).flavor is None
    with pytest.raises(InvalidInput):
        await node.placement.put_flavor(Flavor(name="fast", pools=("nobody",)))


async def test_a_queue_lies_in_a_pool_of_its_flavor(node: Any, cluster: Any) -> None:
    await node.placement.put_pool(pool("plain", weight=10**6))
    await node.placement.put_pool(pool("quick", flavor="fast"))
    await node.queues.create(REF, {"_flavor": "fast"}, now=cluster.clock.now())
    assert await cluster.where() == ["quick"]
    with pytest.raises(InvalidInput):
        await node.queues.create(
            QueueRef("acme", "q"), {"_flavor": "unknown"}, now=cluster.clock.now()
        )
    await cluster.inbox(node, "plain one").post("x")
    assert await cluster.where("plain one") == ["plain"]


async def test_a_queue_changes_its_flavor_while_it_is_empty_only(node: Any, cluster: Any) -> None:
    await node.placement.put_pool(pool("plain"))
    await node.placement.put_pool(pool("quick", flavor="fast"))
    inbox = cluster.inbox(node)
    await inbox.post("x")
    queue = await node.queues.get(REF)
    now = cluster.clock.now()
    with pytest.raises(Conflict, match="1 messages"):
        await node.queues.replace_metadata(queue, {"_flavor": "fast"}, now=now)
    assert await inbox.listed() == ["x"]
    await inbox.pop()
    assert await node.queues.replace_metadata(queue, {"_flavor": "fast"}, now=now)
    assert await cluster.where() == ["quick"]
    assert (await node.queues.get(REF)).metadata == {"_flavor": "fast"}


async def test_a_move_is_done_in_the_background_and_says_how_far_it_is(
    node: Any, cluster: Any
) -> None:
    await node.placement.put_pool(pool("a"))
    await cluster.inbox(node).post(*"abc")
    await node.placement.put_pool(pool("b", weight=0))
    assert await node.placement.move_of(REF) is None
    await node.placement.start_move(REF, "b")
    await node.placement.start_move(REF, "b")
    with pytest.raises(Conflict):
        await node.placement.start_move(REF, "a")
    assert (await node.placement.move_of(REF)).state == "waiting"
    await node.placement.carriages._run_waiting()
    done = await node.placement.move_of(REF)
    assert (done.source, done.target, done.state) == ("a", "b", "done")
    assert (done.queues_done, done.messages_done, done.messages_left) == (1, 3, 0)
    assert await cluster.where() == ["b"]
    for unknown in (node.placement.start_move(REF, "nobody"),):
        with pytest.raises(InvalidInput):
            await unknown
    with pytest.raises(NotFound):
        await node.placement.start_move(QueueRef("acme", "nobody's"), "a")


async def test_it_is_said_where_a_queue_lies_and_whereto_it_is_on_its_way(
    node: Any, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await node.placement.whereabouts(REF) is None
    await cluster.inbox(node).post("a")
    assert await node.placement.whereabouts(REF) == Whereabouts(OWN)
    await node.placement.put_pool(pool("b"))
    target = cluster.store("b").transfers
    load, on_the_way = target.load, []

    async def look_and_load(queue: QueueRef, **what: Any) -> None:
        on_the_way.append(await cluster.node().placement.whereabouts(REF))
        await load(queue, **what)

    monkeypatch.setattr(target, "load", look_and_load)
    await node.placement.start_move(REF, "b")
    await node.placement.carriages._run_waiting()
    assert on_the_way[0] == Whereabouts(OWN, "b")
    assert await node.placement.whereabouts(REF) == Whereabouts("b")


async def test_a_drain_leaves_nothing_and_needs_somewhere_to_go(node: Any, cluster: Any) -> None:
    await node.placement.put_pool(pool("a", flavor="fast"))
    for name in ("one", "two"):
        await node.queues.create(
            QueueRef("acme", name), {"_flavor": "fast"}, now=cluster.clock.now()
        )
        await cluster.inbox(node, name).post(name)
    with pytest.raises(Conflict):
        await node.placement.start_drain("a", None)
    assert (await node.placement.pool("a")).weight == 1
    with pytest.raises(NotFound):
        await node.placement.start_drain("nobody", None)
    with pytest.raises(InvalidInput):
        await node.placement.start_drain("a", "a")
    await node.placement.put_pool(pool("b", flavor="fast"))
    await node.placement.start_drain("a", None)
    await node.placement.carriages._run_waiting()
    done = await node.placement.drain_of("a")
    assert (done.state, done.queues_done, done.messages_done) == ("done", 2, 2)
    assert await cluster.where("one") == await cluster.where("two") == ["b"]
    await node.placement.remove_pool("a")
    assert await names(node) == ["b"]


async def test_a_pool_that_is_down_stops_its_own_queues_only(node: Any, cluster: Any) -> None:
    await node.placement.put_pool(pool("a"))
    await cluster.inbox(node, "there").post("x")
    await node.placement.put_pool(pool("b", weight=10**6))
    await cluster.inbox(node, "here").post("y")
    await cluster.store("b").close()
    take_down(node, "b")
    assert await cluster.inbox(node, "there").listed() == ["x"]
    with pytest.raises(Unavailable, match="The pool b cannot be reached"):
        await cluster.inbox(node, "here").listed()
    with pytest.raises(Unavailable):
        await node.ping()
    assert (await node.sweep(now=cluster.clock.now())).removed == 0
    assert await node.placement.stores() == {
        "": node.own,
        "a": await node.pools.store("a"),
        "b": None,
    }
    assert await node.placement.catalogue_answers()


async def test_a_new_queue_goes_where_a_pool_answers(node: Any, cluster: Any) -> None:
    await node.placement.put_pool(pool("a", weight=10**6))
    await node.placement.put_pool(pool("b"))
    take_down(node, "a")
    await cluster.inbox(node).post("x")
    assert await cluster.where() == ["b"]
    take_down(node, "a", "b")
    with pytest.raises(Unavailable, match="can be reached"):
        await cluster.inbox(node, "another").post("x")
    assert await cluster.where("another") == []


async def test_a_plain_listing_is_complete_though_a_pool_is_down(node: Any, cluster: Any) -> None:
    for name in ("a", "b"):
        await node.placement.put_pool(pool(name))
        await node.placement._change("a", weight=0 if name == "b" else 1)
        await cluster.inbox(node, f"in {name}").post("x")
    take_down(node, "a")

    async def listed(**options: Any) -> list[str]:
        page = await node.queues.page("acme", after=None, limit=9, **options)
        return [queue.ref.name for queue in page]

    assert await listed(with_metadata=False) == ["in a", "in b"]
    assert await listed(with_metadata=False, name_contains="a") == ["in a"]
    for options in ({}, {"with_metadata": False, "metadata_equals": {"k": 1}}):
        with pytest.raises(Unavailable):
            await listed(**options)
