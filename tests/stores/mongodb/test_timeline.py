"""One timeline for all nodes, whichever primary's clock they read (D4)."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from nuska.domain.errors import Unavailable
from nuska.domain.moments import Moment
from nuska.interfaces.storage import Durability
from nuska.stores.mongodb.connection import Connection, open_client
from nuska.stores.mongodb.durability import promise_of
from nuska.stores.mongodb.records import Document
from nuska.stores.mongodb.timeline import REMEMBERED_FOR, Timeline
from nuska.testing.mongodb_server import MongoServer, mongodb_server
from nuska.testing.opening import opening_stores

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOON_MS = int(NOON.timestamp() * 1000)
MINUTE = 60_000
NUMBERS = count()


class Primary:
    """Says what a server says that leads; its clock is set by the test."""

    def __init__(self, name: str, term: int, skew: int = 0) -> None:
        self.name = name
        self.term = term
        self.skew = skew

    async def hello(self, passed: int) -> Document:
        says = NOON + timedelta(milliseconds=passed + self.skew)
        return {"me": self.name, "electionId": self.term, "localTime": says.replace(tzinfo=None)}


class Node:
    """A node's view of the timeline. ``passed`` is true time, in milliseconds."""

    def __init__(self, connection: Connection) -> None:
        self.passed = 0
        self.timeline = Timeline(connection, lambda: self.passed)

    async def asks(self, primary: Primary, passed: int) -> Moment:
        self.passed = passed
        return await self.timeline.time(lambda: primary.hello(passed))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    with mongodb_server(tmp_path_factory.mktemp("mongodb")) as server:
        yield server


@pytest.fixture
async def nodes(server: MongoServer) -> AsyncIterator[list[Node]]:
    connection = open_client(server.url(f"timeline_{next(NUMBERS)}"))
    nodes = [Node(connection) for _ in range(2)]
    for node in nodes:
        await node.timeline.open()
    yield nodes
    await connection.close()


@pytest.mark.parametrize("skew", [5 * MINUTE, -5 * MINUTE], ids=["ahead", "behind"])
async def test_time_neither_stands_still_nor_leaps_when_another_clock_takes_over(
    nodes: list[Node], skew: int
) -> None:
    first, second = Primary("a", 1), Primary("b", 2, skew)
    for node in nodes:
        assert await node.asks(first, 0) == NOON_MS
    for node in nodes:
        assert await node.asks(second, 10_000) == NOON_MS + 10_000
    back = Primary("a", 3)
    for node in reversed(nodes):
        assert await node.asks(back, 20_000) == NOON_MS + 20_000


async def test_a_node_that_starts_after_a_failover_joins_the_timeline(nodes: list[Node]) -> None:
    one, new = nodes
    await one.asks(Primary("a", 1), 0)
    second = Primary("b", 2, -5 * MINUTE)
    await one.asks(second, 10_000)
    assert await new.asks(second, 12_000) == NOON_MS + 12_000


async def test_time_never_goes_back_when_nobody_remembers_what_it_was(nodes: list[Node]) -> None:
    one, _ = nodes
    await one.asks(Primary("a", 1), 0)
    await one.timeline.note(Moment(NOON_MS + 1000))
    late = REMEMBERED_FOR + 10_000
    assert await one.asks(Primary("b", 2, -5 * MINUTE), late) == NOON_MS + 1000
    assert await one.asks(Primary("c", 3, 5 * MINUTE), 3 * late) > NOON_MS + 1000


async def test_a_node_that_missed_a_failover_agrees_with_those_that_did_not(
    nodes: list[Node],
) -> None:
    one, other = nodes
    for node in nodes:
        await node.asks(Primary("a", 1), 0)
    await one.asks(Primary("b", 2, MINUTE), 5_000)
    third = Primary("a", 3, 2 * MINUTE)  # somebody set its clock meanwhile
    assert await one.asks(third, 10_000) == NOON_MS + 10_000
    assert await other.asks(third, 10_000) == NOON_MS + 10_000


@pytest.mark.parametrize(
    ("hello", "level"),
    [
        ({"hosts": ["a"]}, Durability.FSYNC),
        ({"hosts": ["a"], "arbiters": ["x", "y"]}, Durability.FSYNC),
        ({"hosts": ["a", "b"], "arbiters": ["x"]}, Durability.MAJORITY),
        ({"hosts": ["a", "b"], "passives": ["c"]}, Durability.MAJORITY),
    ],
)
def test_a_majority_is_one_of_members_that_keep_a_copy(hello: Document, level: Durability) -> None:
    assert promise_of({"maxWireVersion": 17, "setName": "s", **hello}).level is level


@pytest.mark.parametrize(
    ("members", "level"),
    [(None, Durability.FSYNC), ([3, 1], Durability.FSYNC), ([3, 3], Durability.MAJORITY)],
)
def test_a_cluster_is_as_durable_as_its_weakest_shard(
    members: list[int] | None, level: Durability
) -> None:
    assert promise_of({"maxWireVersion": 17, "msg": "isdbgrid"}, members).level is level


@pytest.mark.parametrize(
    ("hello", "words"),
    [({"maxWireVersion": 16}, "6.0 or later"), ({"maxWireVersion": 17}, "needs a replica set")],
)
def test_a_server_that_cannot_do_it_is_refused(hello: Document, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        promise_of(hello)


async def test_one_server_is_no_majority_and_is_synced(server: MongoServer) -> None:
    url = server.url(f"timeline_{next(NUMBERS)}")
    async with opening_stores() as open_at:
        with pytest.raises(Unavailable, match=r"--require-durability majority.*no other copy"):
            await open_at(url, required=Durability.MAJORITY)
        store = await open_at(url, required=Durability.FSYNC)
        assert store.capabilities.durability is Durability.FSYNC
